//! Images that do not say how they lie: where they are not found as the map lies, their direction and scale are searched for.

use super::correlate::Context;
use super::fix::Verdict;
use super::query::Query;
use super::whole::Located;
use crate::Result;
use crate::dense::{Matcher, PoseConfig, find_pose};
use crate::scene::{Frame, Image, Mirrored};
use std::sync::Arc;

/// By what share the scale that is given may be off, unless told otherwise.
const SCALE: f64 = 0.25;
/// Poses that are looked at.
const POSES: usize = 2;

/// Whether an image's direction and scale are to be searched for.
pub(super) fn wanted(query: &Query, located: &Result<Located>) -> bool {
    let found = located.as_ref().is_ok_and(|l| l.verdict == Verdict::Here || l.frame.oriented);
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
    let info = &context.database.manifest.map;
    let frame = Frame::new(info, image, query.pixel_m)?;
    if frame.oriented {
        return Ok(None);
    }
    let config = PoseConfig { scale: query.scale.unwrap_or(SCALE), mirrored: query.mirrored, top: POSES, ..PoseConfig::default() };
    let poses = find_pose(matcher.engine(), matcher.model(), (map, info), (image, &frame), &config, progress)?;
    let mut best: Option<Located> = None;
    for pose in poses {
        let mirrored = if pose.flipped { Mirrored::Yes } else { Mirrored::No };
        let job = context.job(query, image.clone(), pose.variant(), [0.0, 0.0], mirrored)?;
        let one = context.locate(matcher, vec![job], None, &mut |_, _| {}).remove(0)?.at_most(pose.probability, context.threshold());
        if best.as_ref().is_none_or(|b| one.probability > b.probability) {
            best = Some(one);
        }
    }
    Ok(best.filter(|l| l.verdict != Verdict::NotHere))
}
