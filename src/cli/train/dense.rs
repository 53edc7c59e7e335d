//! Settings of a training of dense features.

use super::course::CourseArgs;
use super::ground::{GroundArgs, Sets};
use crate::train::{DenseTrainConfig, InitFrom};
use crate::{Error, Result};
use std::path::Path;

/// Of a file, else of the model that the run starts from, else the defaults; those that nobody has set suit the pairs.
pub(super) fn settings(
    file: Option<&Path>,
    init_from: Option<&InitFrom>,
    course: &CourseArgs,
    ground: &GroundArgs,
    sets: &Sets,
) -> Result<DenseTrainConfig> {
    let mut config = match (file, init_from) {
        (Some(file), _) => DenseTrainConfig::load(file)?,
        (None, Some(from)) => DenseTrainConfig::from_model(from.clone())?,
        (None, None) => DenseTrainConfig::default(),
    };
    config.init_from = init_from.cloned().or(config.init_from);
    course.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
    let scales = sets.scales();
    if let (0.0, Some((_, first))) = (config.pixel_m, scales.first())
        && (scales.iter().any(|(_, m)| m != first) || ground.has_scenes())
    {
        return Err(Error::invalid("scenes or pairs with pixels of other sizes need one size of feature pixels: say pixel_m in --config"));
    }
    for (shortest, pixel_m) in scales {
        config = if file.is_none() { config.suiting(shortest, pixel_m) } else { config };
        config.check_suits(shortest, pixel_m)?;
    }
    config.check()?;
    Ok(config)
}
