//! Training of matching models.

use super::course::CourseArgs;
use super::ground::GroundArgs;
use super::session::{follow, show};
use super::words::{Words, match_figures};
use crate::cli::common::{Global, check_apart, check_regular};
use crate::matching::MatchModel;
use crate::train::{InitFrom, MatchTrainConfig, export_matching, train_matching};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What is asked of a run.
pub(super) struct Asked<'a> {
    pub(super) config: Option<&'a Path>,
    pub(super) init_from: Option<&'a InitFrom>,
    pub(super) out: Option<&'a Path>,
    pub(super) export: Option<&'a Path>,
    pub(super) print_config: bool,
    pub(super) resume: bool,
}

/// The settings: of a file, else the defaults, of the network that the run starts from where that is one of ours.
fn settings(asked: &Asked<'_>, course: &CourseArgs) -> Result<MatchTrainConfig> {
    let mut config = match (asked.config, asked.init_from) {
        (Some(file), _) => MatchTrainConfig::load(file)?,
        (None, Some(InitFrom::File(path))) => {
            MatchTrainConfig { encoder: MatchModel::load(Some(path))?.network().encoder.clone(), ..MatchTrainConfig::default() }
        }
        (None, _) => MatchTrainConfig::default(),
    };
    config.init_from = asked.init_from.cloned().or(config.init_from);
    course.change(&mut config.epochs, &mut config.seed, &mut config.precision, &mut config.optimizer);
    config.check()?;
    Ok(config)
}

/// Prints the settings, writes the batches, or trains.
pub(super) fn run(global: &Global, ground: &GroundArgs, course: &CourseArgs, asked: &Asked<'_>) -> Result<()> {
    let config = settings(asked, course)?;
    if asked.print_config {
        return show(&config);
    }
    let ground = ground.of_any_scale();
    let sets = ground.sets()?;
    if sets.least().is_none() {
        return Err(Error::invalid("--match learns from pairs: name them with --pairs SAR OPT, or in a table with --pairs-list"));
    }
    if let Some(out) = asked.out {
        check_regular(out)?;
        check_apart(&[out], ground.inputs().map(PathBuf::as_path))?;
    }
    let [scene, val] = ground.open_pairs(global, &sets)?;
    // As `match` will standardise single files, which the threshold is chosen for.
    let val = val.standardised_as(&[&scene.pair.map, &scene.pair.sar].map(|i| i.standardisation.clone()));
    if let Some(folder) = asked.export {
        let bar = global.bar(config.total_steps() as u64, "writing batches");
        export_matching(&global.engine()?, &config, &scene, &val, folder, |step| bar.set_position(step as u64))?;
        bar.finish_and_clear();
        global.say(format_args!("wrote {} steps into {}", config.total_steps(), folder.display()));
        return Ok(());
    }
    let out = asked.out.ok_or_else(|| Error::invalid("--out MODEL is missing"))?;
    let words = Words { total: config.total_steps(), items: config.batch, item: "pairs", figures: match_figures };
    follow(global, out, asked.resume, &words, |engine, stop, on| train_matching(engine, &config, &scene, &val, out, asked.resume, stop, on))
}
