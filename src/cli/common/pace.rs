//! How fast work goes, how long it may yet take, and a thread that tells of it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No time left is told from less than this.
const SOONEST: Duration = Duration::from_secs(1);

/// Work done by the clock.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) what: &'static str,
    pub(super) start: Instant,
    /// What was done before: by an earlier call that this one goes on from.
    pub(super) from: u64,
    pub(super) done: u64,
    pub(super) total: u64,
    /// How often some work was done.
    pub(super) steps: u64,
}

impl Pace {
    pub(super) fn advance(&mut self, done: u64) {
        self.steps += u64::from(done > self.done);
        self.done = done;
    }

    /// The time left, once there is something to tell it from: the first step alone may have taken what none after it does.
    pub(super) fn left(&self, passed: Duration) -> Option<Duration> {
        let (done, rest) = (self.done.saturating_sub(self.from), self.total.saturating_sub(self.done));
        (self.steps > 1 && done > 0 && passed >= SOONEST).then(|| passed.mul_f64(rest as f64 / done as f64))
    }

    fn percent(&self) -> Option<u64> {
        (u128::from(self.done) * 100).checked_div(u128::from(self.total)).map(|p| p.min(100) as u64)
    }

    /// A line for those who have no terminal.
    fn line(&self, passed: Duration) -> String {
        let share = self.percent().map_or_else(String::new, |p| format!(" {p} %"));
        match self.left(passed) {
            Some(left) => format!("{}{share} ({} left)", self.what, in_words(left)),
            None => format!("{}{share} ({} so far)", self.what, in_words(passed)),
        }
    }
}

/// A time as people say it.
pub(super) fn in_words(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        s @ 0..100 => format!("{s} s"),
        s @ 100..5940 => format!("{} min", (s + 30) / 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// A thread that tells of the pace now and then.
#[derive(Debug)]
pub(super) struct Teller {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Teller {
    pub(super) fn start(pace: Arc<Mutex<Pace>>, every: Duration, tell: impl Fn(String) + Send + 'static) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let pace = lock(&pace);
                let line = pace.line(pace.start.elapsed());
                drop(pace);
                tell(line);
            }
        });
        Self { stop, thread }
    }

    pub(super) fn end(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace { what: "matching", start: Instant::now(), from: 0, done: 0, total: 400, steps: 0 }
    }

    #[test]
    fn no_time_left_is_told_before_it_is_known() {
        let (mut p, secs) = (pace(), Duration::from_secs);
        assert_eq!((p.left(secs(90)), p.line(secs(90))), (None, "matching 0 % (90 s so far)".into()));
        p.advance(4);
        // The first step compiles and reads what the others do not.
        assert_eq!(p.left(secs(100)), None);
        p.advance(100);
        assert_eq!((p.left(secs(100)), p.line(secs(100))), (Some(secs(300)), "matching 25 % (5 min left)".into()));
        assert_eq!(p.left(Duration::from_millis(10)), None);
        p.advance(400);
        assert_eq!(p.line(secs(400)), "matching 100 % (0 s left)");
        p.total = 0;
        assert_eq!((p.percent(), p.left(secs(1)).is_some()), (None, true));
    }

    #[test]
    fn what_an_earlier_call_did_says_nothing_about_the_pace() {
        let mut p = pace();
        (p.from, p.done) = (300, 300);
        (301..=310).for_each(|i| p.advance(i));
        assert_eq!(p.left(Duration::from_secs(10)), Some(Duration::from_secs(90)));
    }

    #[test]
    fn times_read_well() {
        assert_eq!(
            [4, 99, 100, 200, 5000, 5940, 7500].map(|s| in_words(Duration::from_secs(s))),
            ["4 s", "99 s", "2 min", "3 min", "83 min", "1 h 39 min", "2 h 5 min"]
        );
    }

    #[test]
    fn lines_are_told_until_the_end_also_where_nothing_moves() {
        let (send, receive) = channel();
        let teller = Teller::start(Arc::new(Mutex::new(pace())), Duration::from_millis(5), move |line| {
            let _ = send.send(line);
        });
        for _ in 0..3 {
            assert!(receive.recv_timeout(Duration::from_secs(20)).unwrap().starts_with("matching 0 % ("));
        }
        teller.end();
        while receive.try_recv().is_ok() {}
        assert!(receive.recv().is_err());
    }
}
