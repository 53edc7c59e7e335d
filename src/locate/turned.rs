//! Images that do not say how they lie: where they are not found as the map lies, their direction and scale are searched for.

use super::correlate::Context;
use super::fix::Verdict;
use super::query::Query;
use super::whole::Located;
use crate::Result;
use crate::dense::{Matcher, PoseConfig, find_pose};
use crate::scene::{Frame, Image, Mirrored};
use std::sync::Arc;
use std::time::Instant;

/// By what share the scale that is given may be off, unless told otherwise.
const SCALE: f64 = 0.25;
/// Less probable than this an answer is none, whatever the threshold: so many poses are tried that one of them looks like half a chance.
const SURE: f64 = 0.7;
/// Poses that are looked at.
const POSES: usize = 2;

/// Whether an image's direction and scale are to be searched for.
pub(super) fn wanted(query: &Query, located: &Result<Located>) -> bool {
    // What was refused may be too small a patch at the scale that is given, and none at the right one.
    let found = match located {
        Ok(l) => l.verdict == Verdict::Here || l.frame.oriented,
        Err(e) => !matches!(e, crate::Error::Invalid(_)),
    };
    query.rotation_deg.is_none() && query.near.is_none() && !found
}

/// The image as the best of its poses puts it; none where none is better than chance, or where it says itself how it lies.
pub(super) fn look(
    context: &Context<'_>,
    matcher: &Matcher<'_>,
    map: &Arc<Image>,
    query: &Query,
    image: &Arc<Image>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Option<Located>> {
    let start = Instant::now();
    let info = &context.database.manifest.map;
    let frame = Frame::new(info, image, query.pixel_m)?;
    if frame.oriented {
        return Ok(None);
    }
    let config = PoseConfig { scale: query.scale.unwrap_or(SCALE), mirrored: query.mirrored, top: POSES, ..PoseConfig::default() };
    let poses = find_pose(matcher.engine(), matcher.model(), (map, info), (image, &frame), &config, progress)?;
    let pose_s = start.elapsed().as_secs_f64();
    let mut best: Option<Located> = None;
    for pose in poses {
        let mirrored = if pose.flipped { Mirrored::Yes } else { Mirrored::No };
        let posed = context.job(query, image.clone(), pose.variant(), [0.0, 0.0], mirrored);
        let one = match posed.and_then(|job| context.locate(matcher, vec![job], None, &mut |_, _| {}).remove(0)) {
            Ok(one) => one.at_most(pose.probability, context.threshold().max(SURE)),
            // Another pose may leave room for a patch.
            Err(e) => {
                tracing::info!("{e}");
                continue;
            }
        };
        if best.as_ref().is_none_or(|b| one.probability > b.probability) {
            best = Some(one);
        }
    }
    let mut best = best.filter(|l| l.verdict != Verdict::NotHere);
    if let Some(best) = &mut best {
        best.seconds.insert("pose".into(), pose_s);
    }
    Ok(best)
}
