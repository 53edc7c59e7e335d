//! Opens what `echogrid index` wrote, chooses a method, and runs it over many images.

use super::cells;
use super::correlate;
use super::fix::Places;
use super::options::{Method, Options, dense_beside};
use super::query::Query;
use super::retrieval;
use super::turned;
use super::whole::{Located, RIGHT_M};
use crate::dense::{DenseDatabase, DenseModel, FeatureKind, Matcher, Statistics, Variant};
use crate::gpu::{Engine, Precision};
use crate::index::{Database, Embedder, LoadedModel, RESIDENT_BYTES, Searcher};
use crate::refine::Prepared;
use crate::scene::{Image, MapInfo};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Images that are opened and searched together at most.
const TOGETHER: usize = 256;
/// And their pixels.
const TOGETHER_PIXELS: u64 = 1 << 30;
/// Images of which a call keeps what pictures are made of.
pub const PICTURED: usize = 250;

/// A map that was indexed, ready to be searched.
#[derive(Debug)]
pub struct Locator<'e> {
    engine: &'e Engine,
    options: Options,
    method: Method,
    map: MapInfo,
    places: Places,
    index: Option<(Database, LoadedModel)>,
    dense: Option<(Option<DenseDatabase>, DenseModel)>,
    image: OnceLock<Option<Arc<Image>>>,
    /// Seconds spent opening.
    seconds: f64,
}

/// The dense database of a path: itself, or the one beside it.
fn dense_path(path: &Path) -> Option<PathBuf> {
    [path.to_path_buf(), dense_beside(path)].into_iter().find(|p| DenseDatabase::is_one(p))
}

/// The method that was asked for, or the best for what there is.
fn choose(path: &Path, options: &Options) -> Result<Method> {
    let itself = DenseDatabase::is_one(path);
    let shown = path.display();
    match options.method {
        Some(m @ (Method::Index | Method::Both)) if itself => Err(Error::invalid(format!(
            "{shown}: is a dense database, and --method {} needs one of cells; make it with `echogrid index --method index`, or use --method dense",
            m.name()
        ))),
        Some(Method::Dense) if dense_path(path).is_none() => Err(Error::invalid(format!(
            "{shown}: is no dense database, and there is none beside it ({}); make one with `echogrid index --method dense`, or use --method both",
            dense_beside(path).display()
        ))),
        Some(method) => Ok(method),
        None if dense_path(path).is_some() => Ok(Method::Dense),
        None => {
            let database = Database::open(path)?;
            let map = map_of(options, &database.manifest.map, path)?;
            Ok(if map.is_some() { Method::Both } else { Method::Index })
        }
    }
}

/// A database's map: the one given, which must fit, or one of the right name beside the database, if it fits.
fn map_of(options: &Options, info: &MapInfo, database: &Path) -> Result<Option<Arc<Image>>> {
    if !options.map.is_empty() {
        let map = Image::open_map(&options.map, options.map_reading.clone())?;
        info.check_is(&map, database)?;
        return Ok(Some(Arc::new(map)));
    }
    let names = if info.files.is_empty() { std::slice::from_ref(&info.name) } else { &info.files[..] };
    let beside: Vec<PathBuf> = names.iter().map(|n| database.with_file_name(n)).collect();
    let there = beside.iter().all(|p| p.is_file());
    let map = if there { Image::open_map(&beside, options.map_reading.clone()).ok() } else { None };
    Ok(map.filter(|m| info.check_is(m, database).is_ok()).map(Arc::new))
}

impl Options {
    /// Refuses what a method does not use: an option that changes nothing is a mistake.
    fn check(&self, method: Method) -> Result<()> {
        self.refine.check()?;
        let refined = !self.refine.is_none();
        let unused: Vec<&str> = [
            (self.threshold.is_some(), "--threshold", method == Method::Index),
            (self.closer_m.is_some(), "--closer", method == Method::Index),
            (self.features.is_some(), "--features", method == Method::Index),
            (self.dense_model.is_some(), "--dense-model", method == Method::Index),
            (!self.vote, "--no-vote", method == Method::Index),
            (self.feature_m.is_some(), "--scale", method == Method::Index),
            (self.block != 0, "--block", method == Method::Index),
            (self.cells != Self::default().cells, "--cells", method != Method::Both),
            (self.model.is_some(), "--model", method == Method::Dense),
        ]
        .into_iter()
        .filter_map(|(given, name, unused)| (given && unused).then_some(name))
        .collect();
        if !unused.is_empty() {
            return Err(Error::invalid(format!(
                "--method {} does not use {}: leave it out, or take another method",
                method.name(),
                unused.join(", ")
            )));
        }
        if method == Method::Dense && (self.feature_m.is_some() || self.block != 0) {
            return Err(Error::invalid(
                "--scale and --block are fixed by the dense database: make it anew with `echogrid index --scale METRES --block PX`, or leave them out",
            ));
        }
        if self.closer_m.is_some_and(|m| !(m.is_finite() && m > 0.0)) {
            return Err(Error::invalid("--closer is in ground metres a feature pixel, above 0"));
        }
        if method != Method::Index && refined {
            return Err(Error::invalid(
                "--refine is about cells, and dense matching finds places without them: take --method index, or leave it out",
            ));
        }
        if self.strip.is_some() && !refined {
            return Err(Error::invalid("--strip says which patches --refine takes together: name a method with --refine"));
        }
        if self.threshold.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
            return Err(Error::invalid("the threshold is a probability, 0 to 1"));
        }
        if !(self.index_credit.is_finite() && self.index_credit >= 0.0) {
            return Err(Error::invalid("the weight of the index's cosines must be a number, 0 or above"));
        }
        if self.patch == Some(0) || self.step == Some(0) || self.top == 0 || self.batch == 0 || self.cells == 0 || self.strip == Some(0) {
            return Err(Error::invalid("patch, step, candidates, cells, strip and batch must all be above 0"));
        }
        Ok(())
    }
}

impl<'e> Locator<'e> {
    /// Opens a database that `echogrid index` wrote: a retrieval or a dense one. Of both, beside each other, the method takes what it needs.
    ///
    /// # Errors
    /// A file that is not there or no database; models that it was not made with; a map that is needed and cannot be read; options that the
    /// method does not use.
    pub fn open(engine: &'e Engine, path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let start = Instant::now();
        let path = path.as_ref();
        let method = choose(path, &options)?;
        options.check(method)?;
        let index = match method {
            Method::Dense => None,
            _ => {
                let database = Database::open(path)?;
                let model = LoadedModel::load(options.model.as_deref())?.with_precision(options.precision);
                database.check_model(&model.hash, &model.path)?;
                Some((database, model))
            }
        };
        let dense = match method {
            Method::Index => None,
            Method::Both => Some((
                None,
                DenseModel::of(options.features.unwrap_or(FeatureKind::Learned), options.dense_model.as_deref(), options.precision)?,
            )),
            Method::Dense => {
                let (database, model) = open_dense(path, &options)?;
                Some((Some(database), model))
            }
        };
        let (map, beside) = match (&dense, &index) {
            (Some((Some(d), _)), _) => (d.manifest.map.clone(), d.path.clone()),
            (_, Some((d, _))) => (d.manifest.map.clone(), d.path.clone()),
            _ => return Err(Error::invalid("no database")),
        };
        let needed = method == Method::Both || options.closer_m.is_some();
        let image = OnceLock::new();
        // One that is named must be the right one.
        if needed || !options.map.is_empty() {
            let _ = image.set(map_of(&options, &map, &beside)?);
        }
        if needed && image.get().is_none_or(Option::is_none) {
            let (what, instead) = match method {
                Method::Both => ("--method both", ", or use --method index"),
                _ => ("--closer", ""),
            };
            return Err(Error::invalid(format!(
                "{}: its map {} does not lie beside it, and {what} reads it; name it with --map{instead}",
                beside.display(),
                map.name
            )));
        }
        let places = Places::new(&map)?;
        Ok(Self { engine, options, method, map, places, index, dense, image, seconds: start.elapsed().as_secs_f64() })
    }

    /// How it looks.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The options it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is known of the map.
    pub fn map(&self) -> &MapInfo {
        &self.map
    }

    /// Map pixels to other coordinates.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The map's pixels, where they could be found; reads the file when first asked, unless the method needed it before.
    ///
    /// # Errors
    /// A map that was named and cannot be read, or is another.
    pub fn map_image(&self) -> Result<Option<Arc<Image>>> {
        if let Some(image) = self.image.get() {
            return Ok(image.clone());
        }
        let image = match (&self.dense, &self.index) {
            (Some((Some(d), _)), _) => map_of(&self.options, &self.map, &d.path)?,
            (_, Some((d, _))) => map_of(&self.options, &self.map, &d.path)?,
            _ => None,
        };
        Ok(self.image.get_or_init(|| image).clone())
    }

    /// The retrieval database and its model, where the method uses them.
    pub fn index(&self) -> Option<(&Database, &LoadedModel)> {
        self.index.as_ref().map(|(d, m)| (d, m))
    }

    /// The features that are correlated, where the method uses them.
    pub fn features(&self) -> Option<&DenseModel> {
        self.dense.as_ref().map(|(_, m)| m)
    }

    /// The dense database, where the method searches one.
    pub fn dense(&self) -> Option<&DenseDatabase> {
        self.dense.as_ref().and_then(|(d, _)| d.as_ref())
    }

    /// A fix less probable than this is "not found"; none where the method gives no probabilities.
    pub fn threshold(&self) -> Option<f64> {
        self.features().map(|m| self.options.threshold.unwrap_or(m.calibration().threshold))
    }

    /// Takes an image's own georeference for the truth. A place is right within [`RIGHT_M`], a cell when its centre lies within half a cell of
    /// the truth in both axes.
    pub fn own_is_true(&self, located: &mut Located) {
        for fix in &mut located.fixes {
            let Some(truth) = fix.claimed else { continue };
            fix.set_truth(truth, |c, off| match (c.cell, &self.index) {
                (Some(cell), Some((database, _))) => database.cell_holds(cell, truth.map_px),
                _ => off <= RIGHT_M,
            });
        }
    }

    /// Seconds that opening took.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// What searches, with all that it keeps on the device.
    ///
    /// # Errors
    /// Device memory.
    pub fn session(&self) -> Result<Session<'_>> {
        let start = Instant::now();
        let look_up = |top: usize| -> Result<LookUp<'_>> {
            let (database, model) = self.index.as_ref().ok_or_else(|| Error::invalid("no retrieval database"))?;
            // The pipelines of both are made side by side.
            let (embedder, prepared) =
                rayon::join(|| model.embedder(self.engine, self.options.batch), || self.options.refine.prepare(self.engine, model));
            let (embedder, prepared) = (embedder?, prepared?);
            let searcher = Searcher::new(self.engine, database, RESIDENT_BYTES)?;
            let top = top.max(prepared.depth());
            Ok(LookUp { embedder, searcher, prepared, top })
        };
        let ready = match (self.method, &self.dense) {
            (Method::Dense, Some((Some(database), model))) => Ready::Dense(Matcher::new(self.engine, database, model, RESIDENT_BYTES)?),
            (Method::Both, _) => Ready::Both(look_up(self.options.cells)?),
            _ => Ready::Index(look_up(self.options.top)?),
        };
        Ok(Session { locator: self, ready, seconds: start.elapsed().as_secs_f64() })
    }

    /// Locates some images, each by itself; the answers come in their order. `progress(done, total)` counts patches.
    ///
    /// For call after call make a [`session`](Self::session) once.
    ///
    /// # Errors
    /// The device. What is wrong with one image is its own answer.
    pub fn locate(&self, queries: &[Query], progress: impl FnMut(usize, usize)) -> Result<Vec<Result<Located>>> {
        Ok(self.session()?.locate(queries, progress))
    }
}

fn open_dense(path: &Path, options: &Options) -> Result<(DenseDatabase, DenseModel)> {
    let at = dense_path(path).unwrap_or_else(|| path.to_path_buf());
    let database = DenseDatabase::open(&at)?;
    // Those that the database was made with, unless others are asked for.
    let stored = if database.manifest.features == "structure" { FeatureKind::Structure } else { FeatureKind::Learned };
    let model = DenseModel::of(options.features.unwrap_or(stored), options.dense_model.as_deref(), options.precision)?;
    database.check_model(model.name(), model.hash())?;
    if at != path
        && let Ok(index) = Database::open(path)
        && index.manifest.map.sha256 != database.manifest.map.sha256
    {
        return Err(Error::invalid(format!(
            "{}: was made of another map ({}) than {} ({}); make both anew with `echogrid index`, or choose with --method index",
            at.display(),
            database.manifest.map.name,
            path.display(),
            index.manifest.map.name
        )));
    }
    Ok((database, model))
}

/// Retrieval, on the device.
#[derive(Debug)]
struct LookUp<'l> {
    embedder: Embedder<'l>,
    searcher: Searcher<'l>,
    prepared: Prepared,
    top: usize,
}

#[derive(Debug)]
enum Ready<'l> {
    Index(LookUp<'l>),
    Dense(Matcher<'l>),
    Both(LookUp<'l>),
}

/// A locator's search, on the device.
#[derive(Debug)]
pub struct Session<'l> {
    locator: &'l Locator<'l>,
    ready: Ready<'l>,
    seconds: f64,
}

impl Session<'_> {
    /// Seconds that it took to make.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// How networks multiply.
    pub fn precision(&self) -> Precision {
        self.locator.options.precision
    }

    /// Locates some images, each by itself; the answers come in their order. `progress(done, total)` counts patches of those at hand.
    pub fn locate(&self, queries: &[Query], mut progress: impl FnMut(usize, usize)) -> Vec<Result<Located>> {
        let mut out = Vec::with_capacity(queries.len());
        let mut rest = queries;
        let share = |count: usize| count as f64 / queries.len().max(1) as f64;
        while !rest.is_empty() {
            let (before, group) = (out.len(), self.group(rest));
            let opened: Vec<Result<Arc<Image>>> = rest[..group].par_iter().map(|q| q.check().and_then(|()| Ok(q.open()?))).collect();
            // What is to come is taken to be as much work an image as this.
            let mut here = |done: usize, total: usize| {
                let scale = total as f64 / share(group).max(1e-9);
                progress((share(before) * scale) as usize + done, scale as usize);
            };
            out.extend(self.together(&rest[..group], opened, &mut here));
            // Files stay open, and what surfaces say takes room: for the first images alone.
            for located in out.iter_mut().skip(PICTURED.max(before)).flatten() {
                located.image = None;
                located.matches.iter_mut().for_each(|m| m.tiles = None);
            }
            rest = &rest[group..];
        }
        out
    }

    /// How many images, from the first on, are searched together.
    fn group(&self, queries: &[Query]) -> usize {
        let mut pixels = 0;
        let room = queries.iter().take(TOGETHER).take_while(|q| {
            // A file's size bounds what it holds decoded well enough.
            pixels += q.bytes();
            pixels <= TOGETHER_PIXELS
        });
        room.count().max(1)
    }

    fn together(&self, queries: &[Query], opened: Vec<Result<Arc<Image>>>, progress: &mut dyn FnMut(usize, usize)) -> Vec<Result<Located>> {
        match &self.ready {
            Ready::Dense(matcher) => self.dense(matcher, queries, opened, progress),
            Ready::Index(look_up) => {
                let context = self.look_up(look_up);
                let total = queries.len();
                each(queries, opened, |i, q, image| {
                    if q.rotation_deg.is_some_and(|r| r > 0.0) || q.scale.is_some_and(|s| s > 0.0) {
                        return Err(Error::invalid(
                            "--method index does not use --rotation-range, --scale-range: leave them out, or take another method",
                        ));
                    }
                    let job = context.job(q, image)?;
                    let looked = context.look_up(&job, &mut |done, all| progress(i * all + done, total * all))?;
                    context.judge(&job, looked)
                })
            }
            Ready::Both(look_up) => {
                let locator = self.locator;
                let (Some((_, model)), Some(Some(map))) = (&locator.dense, locator.image.get()) else {
                    return queries.iter().map(|_| Err(Error::invalid("the map cannot be read"))).collect();
                };
                let options = &locator.options;
                let step = options.feature_m.unwrap_or(model.metres()) / locator.map.ground_m();
                let statistics = match model.calibration().domains.is_empty() {
                    true => None,
                    false => Statistics::measure(map, step).unwrap_or_default(),
                };
                let context = cells::Context { cells: self.look_up(look_up), model, map, options, places: &locator.places, statistics };
                let total = queries.len();
                each(queries, opened, |i, q, image| {
                    let range = [q.rotation_deg.unwrap_or(0.0), q.scale.unwrap_or(0.0)];
                    context.locate(q, image, range, &mut |done, all| progress(i * all + done, total * all))
                })
            }
        }
    }

    fn look_up<'s>(&'s self, look_up: &'s LookUp<'_>) -> retrieval::Context<'s> {
        let locator = self.locator;
        let (database, _) = locator.index.as_ref().expect("the method uses it");
        retrieval::Context {
            embedder: &look_up.embedder,
            searcher: &look_up.searcher,
            database,
            refine: Some(&look_up.prepared),
            options: &locator.options,
            places: &locator.places,
            top: look_up.top,
        }
    }

    fn dense(
        &self,
        matcher: &Matcher<'_>,
        queries: &[Query],
        opened: Vec<Result<Arc<Image>>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Vec<Result<Located>> {
        let locator = self.locator;
        let context = correlate::Context {
            database: matcher.database(),
            options: &locator.options,
            places: &locator.places,
            calibration: matcher.model().calibration(),
            map: locator.image.get().and_then(Option::as_ref),
            method: Method::Dense,
        };
        let plain = |q: &Query, image: Arc<Image>| {
            let range = [q.rotation_deg.unwrap_or(0.0), q.scale.unwrap_or(0.0)];
            context.job(q, image, Variant::PLAIN, range, q.mirrored)
        };
        // Kept for those whose direction is searched for afterwards.
        let kept: Vec<Option<Arc<Image>>> = opened.iter().map(|i| i.as_ref().ok().cloned()).collect();
        let cut: Vec<Result<correlate::Job>> = queries.iter().zip(opened).map(|(q, image)| plain(q, image?)).collect();
        let (mut jobs, mut out) = (Vec::new(), Vec::new());
        for job in cut {
            out.push(job.map(|j| jobs.push(j)));
        }
        let mut found = context.locate(matcher, jobs, None, progress).into_iter();
        let mut all: Vec<Result<Located>> = out.into_iter().map(|job| job.and_then(|()| found.next().expect("one for each job"))).collect();
        let unknown: Vec<usize> = (0..all.len()).filter(|i| kept[*i].is_some() && turned::wanted(&queries[*i], &all[*i])).collect();
        if unknown.is_empty() {
            return all;
        }
        let map = match locator.map_image() {
            Ok(Some(map)) => map,
            Ok(None) | Err(_) => {
                let advice = "its direction was not searched for, which reads the map: name it with --map";
                for i in unknown {
                    if let Ok(l) = &mut all[i] {
                        l.warnings.push(format!("{}: {advice}", l.file));
                    }
                }
                return all;
            }
        };
        for (n, i) in unknown.iter().enumerate() {
            let image = kept[*i].as_ref().expect("just filtered");
            let mut here = |done: usize, total: usize| progress(n * total + done, unknown.len() * total);
            let look = turned::look(&context, matcher, &map, &queries[*i], image, &mut here);
            match look {
                Ok(Some(better)) if all[*i].as_ref().map_or(true, |l| better.probability > l.probability) => all[*i] = Ok(better),
                Ok(_) => {}
                // What was found as the map lies stands.
                Err(e) if all[*i].is_ok() => tracing::info!("{e}"),
                Err(_) => {}
            }
        }
        all
    }
}

/// Runs `one` on each image that could be opened.
fn each(
    queries: &[Query],
    opened: Vec<Result<Arc<Image>>>,
    mut one: impl FnMut(usize, &Query, Arc<Image>) -> Result<Located>,
) -> Vec<Result<Located>> {
    queries.iter().zip(opened).enumerate().map(|(i, (q, image))| one(i, q, image?)).collect()
}
