// Over-relaxation of Sinkhorn's iteration, f <- f + omega (f~ - f), chosen from how fast the marginal error falls (Lehmann, von
// Renesse, Sambale, Uschmajew, "A note on overrelaxation in the Sinkhorn algorithm", 2022): plain alternating steps shrink it by s
// an iteration, the best omega is 2 / (1 + sqrt(1 - s)); a rate r seen under omega means s = (r + omega - 1)^2 / (r omega^2) (Young).
// After a change 4 iterations pass unseen, the next 6 are measured; an error that grew halves omega - 1 and makes us warier.
struct Relax {
    omega: f32,
    trust: f32, // share of the best omega - 1 that is dared
    since: f32, // error at the start of the window
    count: f32, // iterations since the last change
}

const RELAX_TRUST = 0.98;

fn relax_start() -> Relax {
    return Relax(1.0, RELAX_TRUST, 0.0, 0.0);
}

fn relax(was: Relax, error: f32) -> Relax {
    var r = was;
    r.count += 1.0;
    if r.count == 4.0 {
        r.since = error;
    }
    if r.count == 10.0 {
        r.count = 0.0;
        if error >= r.since {
            r.omega = select(1.0, 1.0 + 0.5 * (r.omega - 1.0), error < 0.5);
            r.trust *= 0.8;
        } else if error < 0.5 {
            let rate = max(exp2(log2(max(error, 1e-30) / r.since) / 6.0), r.omega - 1.0 + 1e-6);
            let s = min((rate + r.omega - 1.0) * (rate + r.omega - 1.0) / (rate * r.omega * r.omega), 0.9999);
            r.omega = 1.0 + r.trust * max(2.0 / (1.0 + sqrt(1.0 - s)) - 1.0, 0.0);
            r.trust = min(r.trust * 1.1, RELAX_TRUST);
        }
    }
    return r;
}
