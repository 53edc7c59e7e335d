//! What the subcommands share: global options, the engine, progress bars.

use super::tune;
use crate::atomic::AtomicFile;
use crate::gpu::{AdapterChoice, Engine};
use crate::scene::{Bands, Image, Mirrored, NoData, OpenOptions, Raster, SarUnit, ScenePair};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Text on standard output. A reader that went away (`| head`) ends the process quietly.
pub(super) fn write_out(text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if let Err(e) = std::io::stdout().lock().write_fmt(text) {
        if e.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("error: standard output cannot be written ({e})");
            std::process::exit(1);
        }
        std::process::exit(0);
    }
}

/// `print!` by way of [`write_out`].
macro_rules! out_raw {
    ($($arg:tt)*) => { $crate::cli::common::write_out(format_args!($($arg)*)) };
}

/// `println!` by way of [`write_out`].
macro_rules! out {
    () => { $crate::cli::common::write_out(format_args!("\n")) };
    ($($arg:tt)*) => {{
        $crate::cli::common::write_out(format_args!($($arg)*));
        $crate::cli::common::write_out(format_args!("\n"));
    }};
}

/// Options of every subcommand.
#[derive(Debug, Args)]
pub struct Global {
    /// Adapter by a part of its name, or its number in `echogrid info` [default: the fastest; or ECHOGRID_ADAPTER]
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "NAME")]
    pub adapter: Option<String>,
    /// More messages: -v what happens, -vv how (RUST_LOG sets levels by module)
    #[arg(short, long, global = true, help_heading = "Options of every command", action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Choose kernels by the kind of adapter alone, not by what was measured on it (see `echogrid tune`)
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub no_tune: bool,
    /// No progress bars
    #[arg(short, long, global = true, help_heading = "Options of every command")]
    pub quiet: bool,
}

impl Global {
    pub(super) fn start_log(&self) {
        use tracing_subscriber::EnvFilter;
        let level = match self.verbose {
            0 => "warn",
            1 => "echogrid=info,warn",
            2 => "echogrid=debug,warn",
            _ => "debug",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        // Mesa looks for a display it does not need, and says so.
        #[cfg(target_os = "linux")]
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            // SAFETY: no other thread runs yet.
            unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
        }
    }

    /// Opens the chosen adapter and says which it is.
    pub(super) fn engine(&self) -> Result<Engine> {
        Ok(tune::tuned(self, self.untuned_engine()?))
    }

    /// The same, with the measurements that were shipped, if any.
    pub(super) fn untuned_engine(&self) -> Result<Engine> {
        let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(self.adapter.as_deref())))?;
        self.say(format_args!("adapter: {}", engine.adapter()));
        Ok(engine)
    }

    /// A line for people, unless quiet.
    pub(super) fn say(&self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// A progress bar on a terminal; nothing elsewhere.
    pub(super) fn bar(&self, len: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::new(len);
        if self.quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {pos}/{len} {msg} {elapsed} (left {eta})");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(what);
        bar
    }
}

/// What the SAR values measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Square root of intensity (most 8- and 16-bit products)
    Amplitude,
    /// Backscattered power
    Intensity,
    /// Decibels
    Db,
}

impl From<Unit> for SarUnit {
    fn from(u: Unit) -> Self {
        match u {
            Unit::Amplitude => Self::Amplitude,
            Unit::Intensity => Self::Intensity,
            Unit::Db => Self::Decibel,
        }
    }
}

/// How the SAR image is read.
#[derive(Debug, Clone, Args)]
pub struct SarArgs {
    /// What the SAR values measure [default: guessed]
    #[arg(long, value_enum, help_heading = "Reading")]
    pub sar_unit: Option<Unit>,
    /// Band of the SAR image: its number, or a word of its description such as VV [default: the first described as VV, VH, HH or HV, else the first]
    #[arg(long, value_name = "BAND", help_heading = "Reading")]
    pub band: Option<String>,
    /// Value of the SAR image that marks no data; `none`: every value is data [default: the file's own, and fill along the border that it does not name]
    #[arg(
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        hide_default_value = true,
        default_value = "auto",
        help_heading = "Reading"
    )]
    pub no_data: NoData,
}

impl SarArgs {
    fn options(&self) -> OpenOptions {
        OpenOptions { bands: self.band.clone().map_or(Bands::All, Bands::Named), no_data: self.no_data, reader: None }
    }

    /// What the values measure, if it was said.
    pub(super) fn unit(&self) -> Option<SarUnit> {
        self.sar_unit.map(Into::into)
    }

    /// Opens a SAR image, and says what is doubtful about it.
    pub(super) fn open(&self, path: &Path) -> Result<Image> {
        let image = Image::open_sar(path, self.unit(), self.options())?;
        warn_of(&image.raster);
        let raster = &image.raster;
        if let (true, Err(e)) = (raster.geo().is_some() || raster.control_points() > 0, raster.placement()) {
            warn(format_args!("the image's own georeference is not used: {e}"));
        }
        Ok(image)
    }

    /// Opens the images of an area, and says what is doubtful about them. `map` reads the map.
    pub(super) fn pair(&self, map: &MapArgs, sar: &Path) -> Result<ScenePair> {
        Ok(ScenePair::of(map.open()?, self.open(sar)?)?)
    }

    /// The same for a pair of files, a map of one file.
    pub(super) fn pair_of(&self, files: &[PathBuf]) -> Result<ScenePair> {
        let map = MapArgs { map: vec![files[0].clone()], no_data: MapNoData { map_no_data: NoData::Auto } };
        self.pair(&map, &files[1])
    }
}

/// What marks no data in a map.
#[derive(Debug, Clone, Copy, Args)]
pub struct MapNoData {
    /// Value of the map that marks no data; `none`: every value is data [default: the file's own, and fill that it does not name]
    #[arg(
        long,
        value_name = "VALUE",
        allow_negative_numbers = true,
        hide_default_value = true,
        default_value = "auto",
        help_heading = "Reading"
    )]
    pub map_no_data: NoData,
}

impl MapNoData {
    /// For opening the map.
    pub(super) fn options(self) -> OpenOptions {
        OpenOptions { no_data: self.map_no_data, ..OpenOptions::default() }
    }
}

/// A map to read.
#[derive(Debug, Clone, Args)]
pub struct MapArgs {
    /// Optical map: GeoTIFF, or PNG or JPEG with a world file; several files, a folder of them, or a list (.txt, a path a line) count as one map
    #[arg(long, value_name = "MAP", required = true, num_args = 1..)]
    pub map: Vec<PathBuf>,
    #[command(flatten)]
    pub no_data: MapNoData,
}

impl MapArgs {
    /// Opens it, and says what is doubtful about it.
    pub(super) fn open(&self) -> Result<Image> {
        open_map(&self.map, self.no_data)
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        name_of(&self.map[0])
    }
}

/// Opens a map, and says what is doubtful about it.
pub(super) fn open_map(files: &[PathBuf], no_data: MapNoData) -> Result<Image> {
    let image = Image::open_map(files, no_data.options())?;
    warn_of(&image.raster);
    Ok(image)
}

/// Whether an image that does not say how it lies is mirrored.
#[derive(Debug, Clone, Copy, Args)]
pub struct MirrorArgs {
    /// Whether an image without a georeference shows the ground as from below, as raw images of descending passes do
    #[arg(long, value_enum, default_value_t = Mirrored::Auto, help_heading = "Reading")]
    pub mirrored: Mirrored,
}

/// What was doubted so far: every JSON object that is printed lists it.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A doubt, on standard error and in JSON; each once.
pub(super) fn warn(text: impl std::fmt::Display) {
    let (text, mut all) = (text.to_string(), WARNINGS.lock().unwrap_or_else(|e| e.into_inner()));
    if !all.contains(&text) {
        eprintln!("warning: {text}");
        all.push(text);
    }
}

/// What is doubtful about a raster.
pub(super) fn warn_of(raster: &Raster) {
    raster.warnings().iter().for_each(warn);
}

/// Refuses a file that cannot be written, before long work starts.
pub(super) fn check_output(path: &Path) -> Result<()> {
    // Dropped at once: nothing stays behind.
    AtomicFile::create(path).map(drop).map_err(|source| crate::report::Error::Write { path: path.into(), source }.into())
}

/// A file's name without its folder.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The command as it was typed, or nearly.
pub(super) fn command_line() -> String {
    let quote = |a: String| if a.is_empty() || a.contains([' ', '\'', '"']) { format!("'{}'", a.replace('\'', "'\\''")) } else { a };
    std::iter::once("echogrid".to_string())
        .chain(std::env::args_os().skip(1).map(|a| quote(a.to_string_lossy().into_owned())))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A flag that Ctrl-C and termination raise.
pub(super) fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            // A second time: at once.
            std::process::exit(130);
        }
        eprintln!("stopping after this step (again to stop at once)");
    })
    .map_err(|e| Error::invalid(format!("no handler for Ctrl-C: {e}")))?;
    Ok(flag)
}

/// One JSON object on standard output, with what was warned of as `warnings`.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut value = serde_json::to_value(value).map_err(|e| Error::invalid(format!("cannot be printed as JSON: {e}")))?;
    if let Some(fields) = value.as_object_mut() {
        let warnings = WARNINGS.lock().unwrap_or_else(|e| e.into_inner());
        fields.insert("warnings".into(), serde_json::json!(*warnings));
    }
    let text = serde_json::to_string(&value).map_err(|e| Error::invalid(format!("cannot be printed as JSON: {e}")))?;
    out!("{text}");
    Ok(())
}
