//! Files that appear whole under their name, or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// How temporary names end.
const SUFFIX: &str = ".tmp";

/// A file under a temporary name beside its target; [`AtomicFile::commit`] moves it into place, dropping it leaves nothing. What a killed
/// process left behind is swept away by the next one that writes the same file: its owner holds a lock on it while it lives.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    temporary: NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file, as readable as any other new file (the umask applies).
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        if target.is_dir() || target.file_name().is_none() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let prefix = format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy());
        sweep(folder_of(target), &prefix);
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder_of(target)).map_err(plain)?;
        // A file system without locks keeps its leftovers; nothing else hangs on it.
        let _ = temporary.as_file().try_lock();
        Ok(Self { temporary, target: target.into() })
    }

    /// What to write to.
    pub(crate) fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Brings the contents to the disk and the file under its name.
    pub(crate) fn commit(self) -> io::Result<()> {
        self.temporary.as_file().sync_all().map_err(plain)?;
        self.temporary.persist(&self.target).map_err(|e| plain(e.error))?;
        Ok(())
    }

    /// Writes all of `bytes` to `target`.
    pub(crate) fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = Self::create(target)?;
        io::Write::write_all(&mut file.file(), bytes)?;
        file.commit()
    }
}

/// Removes temporary files with this prefix whose owner is gone.
fn sweep(folder: &Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_string_lossy().strip_prefix(prefix).is_some_and(|rest| rest.ends_with(SUFFIX));
        if ours && File::open(entry.path()).is_ok_and(|f| f.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The folder a file lies in; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The error without the temporary name that `tempfile` adds to it.
fn plain(error: io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_as_readable_as_any_other_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
        AtomicFile::write(&ours, b"new").unwrap();
        std::fs::write(&plain, b"new").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
        drop(AtomicFile::create(&ours).unwrap());
        assert_eq!(std::fs::read(&ours).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn leftovers_of_a_dead_writer_are_swept_but_not_those_of_a_live_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model");
        let live = AtomicFile::create(&target).unwrap();
        let dead = dir.path().join(".model.dead.tmp");
        std::fs::write(&dead, b"half").unwrap();
        let other = dir.path().join(".model-of-another.tmp");
        std::fs::write(&other, b"not ours").unwrap();
        AtomicFile::write(&target, b"whole").unwrap();
        assert!(!dead.exists() && other.exists());
        live.commit().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
