//! What commands print, and the files they write.

use crate::atomic::{AtomicFile, is_through};
use crate::scene::Raster;
use crate::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an output of the command is standard output: what is for people goes to standard error then.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether one JSON object is printed there.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says that standard output is for one JSON object.
pub(in crate::cli) fn expect_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Text for people on standard output, or on standard error where an output goes to the former. A reader that went away (`| head`) ends the
/// process quietly.
pub(in crate::cli) fn write_out(text: std::fmt::Arguments<'_>) {
    if TAKEN.load(Ordering::Relaxed) {
        return eprint!("{text}");
    }
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

/// What was doubted so far: every JSON object that is printed lists it.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Doubts about many images that are told.
const TOLD: usize = 12;

/// A doubt, on standard error and in JSON; each once.
pub(in crate::cli) fn warn(text: impl std::fmt::Display) {
    let (text, mut all) = (text.to_string(), WARNINGS.lock().unwrap_or_else(|e| e.into_inner()));
    if !all.contains(&text) {
        eprintln!("warning: {text}");
        all.push(text);
    }
}

/// What is doubtful about a raster.
pub(in crate::cli) fn warn_of(raster: &Raster) {
    raster.warnings().iter().for_each(warn);
}

/// What is doubtful about many images: the first of it, and how much more there is.
pub(in crate::cli) fn warn_of_many<T: std::fmt::Display>(doubts: impl IntoIterator<Item = T>) {
    let mut doubts = doubts.into_iter();
    doubts.by_ref().take(TOLD).for_each(warn);
    let more = doubts.count();
    if more > 0 {
        warn(format_args!("{more} more doubts about the images: name fewer at once to be told theirs"));
    }
}

/// A page's file on the command line: a name that says another format is a slip, and would lose what lies there.
pub(in crate::cli) fn page(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        None | Some("html" | "htm") => Ok(path),
        Some(other) => Err(format!("a page is HTML, and `.{other}` says otherwise: name a file that ends in .html")),
    }
}

/// Refuses an output that cannot be written, before long work starts. `-` is standard output: for text.
pub(in crate::cli) fn check_output(path: &Path) -> Result<()> {
    if ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|p| path == Path::new(p)) {
        let shown = path.display();
        if JSON.load(Ordering::Relaxed) {
            return Err(Error::invalid(format!("`{shown}` and --json both go to standard output: name a file, or leave out --json")));
        }
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Error::invalid(format!("`{shown}`: another output goes to standard output already; name a file")));
        }
        if path == Path::new("-") {
            return Ok(());
        }
    }
    AtomicFile::check(path).map_err(|source| crate::report::Error::Write { path: path.into(), source }.into())
}

/// The same for a database, a model or a GeoTIFF, which standard output does not take.
pub(in crate::cli) fn check_file(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        let reason = "standard output takes text alone, not databases, models or GeoTIFFs: name a file (./- for one of that name)";
        return Err(Error::file(path, reason));
    }
    check_output(path)
}

/// The same for one that is read again, or beside which others are written.
pub(in crate::cli) fn check_regular(path: &Path) -> Result<()> {
    if is_through(path) {
        return Err(Error::file(path, "is no regular file, and cannot be read again or have files beside it: name another path"));
    }
    check_file(path)
}

/// Whether an output can be written but once: standard output, a device, a pipe.
pub(in crate::cli) fn written_once(path: &Path) -> bool {
    path == Path::new("-") || is_through(path)
}

/// Refuses two outputs that are one file, and outputs that are an input: by the files themselves, whatever their names.
pub(in crate::cli) fn check_apart<'a>(outputs: &[&Path], inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    // A file that is not there yet is told by its folder.
    let real = |path: &Path| -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| {
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().unwrap_or_default();
            folder.canonicalize().map_or_else(|_| path.to_path_buf(), |f| f.join(name))
        })
    };
    let files: Vec<(&Path, PathBuf)> = outputs.iter().filter(|p| !written_once(p)).map(|p| (*p, real(p))).collect();
    if let Some((i, (path, _))) = files.iter().enumerate().find(|(i, (_, p))| files[..*i].iter().any(|(_, q)| q == p)) {
        let other = files[..i].iter().find(|(_, q)| *q == files[i].1).map_or(*path, |(p, _)| *p);
        let names = if other == *path { format!("{}", path.display()) } else { format!("{} and {}", other.display(), path.display()) };
        return Err(Error::invalid(format!("two outputs have the same name, {names}; give each its own")));
    }
    for input in inputs {
        let there = real(input);
        if let Some((path, _)) = files.iter().find(|(_, p)| *p == there) {
            return Err(Error::invalid(format!("{}: an output has the name of an input; give it its own", path.display())));
        }
    }
    Ok(())
}

/// One JSON object on standard output, with what was warned of as `warnings`.
pub(in crate::cli) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut value = serde_json::to_value(value).map_err(|e| Error::invalid(format!("cannot be printed as JSON: {e}")))?;
    if let Some(fields) = value.as_object_mut() {
        let warnings = WARNINGS.lock().unwrap_or_else(|e| e.into_inner());
        fields.insert("warnings".into(), serde_json::json!(*warnings));
    }
    let text = serde_json::to_string(&value).map_err(|e| Error::invalid(format!("cannot be printed as JSON: {e}")))?;
    out!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_output_takes_one_text() {
        let e = check_file(Path::new("-")).unwrap_err().to_string();
        assert!(e.starts_with("-: ") && e.contains("./-"), "{e}");
        check_output(Path::new("-")).unwrap();
        let e = check_output(Path::new("-")).unwrap_err().to_string();
        assert!(e.contains("another output"), "{e}");
        expect_json();
        let e = check_output(Path::new("/dev/stdout")).unwrap_err().to_string();
        assert!(e.contains("--json"), "{e}");
        TAKEN.store(false, Ordering::Relaxed);
        JSON.store(false, Ordering::Relaxed);
    }
}
