//! Files that appear whole under their name, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// How temporary names end.
const SUFFIX: &str = ".tmp";

/// Links that are followed, as many as Linux does.
const LINKS: usize = 40;

/// Where bytes go that are written under some name.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A regular file, there or not: it is replaced whole. Not a link: those are followed.
    File(PathBuf),
    /// What else is there (a device, a pipe, a socket, an open file by its number): opened and written to, never replaced.
    Through(PathBuf),
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        let folder = path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match std::fs::metadata(path) {
            Ok(m) if m.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(m) if !m.is_file() => Ok(Self::Through(path.into())),
            Ok(_) => Self::follow(path),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Err(_) if folder => Err(io::ErrorKind::IsADirectory.into()),
            Err(_) => Self::follow(path),
        }
    }

    /// Follows links to a file, or to where one would lie.
    fn follow(path: &Path) -> io::Result<Self> {
        let mut path = path.to_path_buf();
        for _ in 0..LINKS {
            let Ok(to) = std::fs::read_link(&path) else { return Ok(Self::File(path)) };
            let folder = folder_of(&path);
            // `/dev/stdout`, `/proc/self/fd/3`: an open file, whatever its name says. Another in its place would not be the one that was meant.
            if std::fs::canonicalize(folder).is_ok_and(|f| f.starts_with("/proc")) {
                return Ok(Self::Through(path));
            }
            path = folder.join(to);
        }
        Err(io::Error::other("too many symbolic links"))
    }
}

/// A file under a temporary name beside its target; [`AtomicFile::commit`] moves it into place, dropping it leaves nothing. What a killed
/// process left behind is swept away by the next one that writes the same file: its owner holds a lock on it while it lives.
///
/// Symbolic links stay: what they lead to is replaced. What is there and is no regular file stays too: it is opened and written to, all at
/// once, by `commit`.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    temporary: Temporary,
    target: PathBuf,
}

#[derive(Debug)]
enum Temporary {
    /// Beside the target.
    Beside(NamedTempFile),
    /// Without a name, to be copied into a device or pipe.
    Apart(File),
}

impl AtomicFile {
    /// Creates the temporary file, as readable as the file that it replaces, or as any other new file (the umask applies).
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let target = match Target::of(target)? {
            Target::File(path) => path,
            Target::Through(target) => return Ok(Self { temporary: Temporary::Apart(tempfile::tempfile().map_err(plain)?), target }),
        };
        let prefix = format!(".{}.", target.file_name().unwrap_or_default().to_string_lossy());
        sweep(folder_of(&target), &prefix);
        // Opened here: `tempfile`'s own errors do not say what the system said.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let temporary = Builder::new().prefix(&prefix).suffix(SUFFIX).make_in(folder_of(&target), open)?;
        if let Ok(old) = std::fs::metadata(&target) {
            // Whoever might not read the old one shall not read the new one. File systems without permissions refuse: they have none to keep.
            let _ = temporary.as_file().set_permissions(old.permissions());
        }
        // A file system without locks keeps its leftovers; nothing else hangs on it.
        let _ = temporary.as_file().try_lock();
        Ok(Self { temporary: Temporary::Beside(temporary), target })
    }

    /// Whether a file can be written under this name, as far as can be told without writing: nothing stays behind, and nobody who waits at
    /// the other end of a pipe sees it opened.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn check(target: &Path) -> io::Result<()> {
        match Target::of(target)? {
            Target::File(_) => Self::create(target).map(drop),
            Target::Through(path) => match is_pipe(&path)? {
                true => Ok(()),
                false => OpenOptions::new().write(true).open(path).map(drop),
            },
        }
    }

    /// What to write to.
    pub(crate) fn file(&self) -> &File {
        match &self.temporary {
            Temporary::Beside(file) => file.as_file(),
            Temporary::Apart(file) => file,
        }
    }

    /// Brings the contents to the disk and the file under its name, or through to the device. Returns what was written, to be read again: a pipe
    /// does not give it back.
    pub(crate) fn commit(self) -> io::Result<File> {
        match self.temporary {
            Temporary::Beside(file) => {
                file.as_file().sync_all().map_err(plain)?;
                file.persist(&self.target).map_err(|e| plain(e.error))
            }
            Temporary::Apart(mut file) => {
                file.rewind()?;
                copy_to(&mut file, &self.target)?;
                Ok(file)
            }
        }
    }

    /// Writes all of `bytes` to `target`.
    pub(crate) fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = Self::create(target)?;
        file.file().write_all(bytes)?;
        file.commit().map(drop)
    }
}

/// A file without a name on the disk of `target`, or where temporary files lie: for what is gathered before it is written there.
pub(crate) fn spool(target: Option<&Path>) -> io::Result<File> {
    match target.map(Target::of).transpose()? {
        Some(Target::File(path)) => tempfile::tempfile_in(folder_of(&path)),
        Some(Target::Through(_)) | None => tempfile::tempfile(),
    }
    .map_err(plain)
}

/// Whether this name is that of something else than a regular file, through which is written.
#[cfg(any(feature = "cli", test))]
pub(crate) fn is_through(path: &Path) -> bool {
    matches!(Target::of(path), Ok(Target::Through(_)))
}

/// Copies a file into something that is no regular file, or that is open already.
fn copy_to(from: &mut impl Read, target: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if std::fs::metadata(target)?.file_type().is_socket() {
            return io::copy(from, &mut std::os::unix::net::UnixStream::connect(target)?).map(drop);
        }
    }
    // Behind what others wrote into an open file.
    io::copy(from, &mut OpenOptions::new().append(true).open(target)?).map(drop)
}

/// Whether opening it would be seen at another end.
#[cfg(any(feature = "cli", test))]
fn is_pipe(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = std::fs::metadata(path)?.file_type();
        Ok(kind.is_fifo() || kind.is_socket())
    }
    #[cfg(not(unix))]
    Ok(path.as_os_str().is_empty())
}

/// What a reader of the message can do about a file that could not be written, by what the system said and what is really there.
pub(crate) fn advice(path: &Path, source: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let end = match Target::of(path) {
        Ok(Target::Through(_)) if source.kind() != Kind::StorageFull => {
            return format!("{} is no regular file and does not take it: choose another path", path.display());
        }
        Ok(Target::File(end) | Target::Through(end)) => end,
        Err(_) => path.into(),
    };
    let folder = folder_of(&end);
    let shown = folder.display();
    match source.kind() {
        Kind::NotFound if folder.is_dir() => format!("the folder {shown} is there, but takes no new files: choose another path"),
        Kind::NotFound => format!("create the folder {shown} first, or choose another path"),
        Kind::NotADirectory => format!("{shown} is not a folder: choose another path"),
        Kind::IsADirectory => "it is a folder: give the name of a file in it".to_string(),
        Kind::PermissionDenied => {
            format!("you may not write in the folder {shown}: make the folder writable for you, or choose another path")
        }
        Kind::ReadOnlyFilesystem => format!("the folder {shown} lies on a disk that is mounted read-only: choose another path"),
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
            "there is no room for it: free some space, or choose another disk".to_string()
        }
        Kind::InvalidFilename => "choose a shorter name, without characters that the disk refuses".to_string(),
        Kind::BrokenPipe => "the reader at the other end went away".to_string(),
        _ => format!("check the folder {shown}, or choose another path"),
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
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    use std::time::Duration;

    /// A pipe with a name.
    fn pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_pipe_is_written_through_and_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("pipe"), dir.path().join("link"));
        pipe(&path);
        symlink("pipe", &link).unwrap();
        for target in [&path, &link] {
            // Nobody reads: the check must not wait for one.
            AtomicFile::check(target).unwrap();
            drop(AtomicFile::create(target).unwrap());
            let reader = std::thread::spawn({
                let path = path.clone();
                move || std::fs::read(path).unwrap()
            });
            AtomicFile::write(target, b"whole").unwrap();
            assert_eq!(reader.join().unwrap(), b"whole");
            assert!(is_through(target) && std::fs::metadata(&path).unwrap().file_type().is_fifo());
            assert!(link.is_symlink());
        }
        spool(Some(&path)).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_socket_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all
        });
        AtomicFile::check(&path).unwrap();
        AtomicFile::write(&path, b"whole").unwrap();
        assert_eq!(reader.join().unwrap(), b"whole");
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    }

    #[test]
    fn an_open_file_by_its_number_is_written_to_not_replaced() {
        use std::os::fd::AsRawFd as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("open");
        let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all(b"before ").unwrap();
        let by_number = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        AtomicFile::check(&by_number).unwrap();
        AtomicFile::write(&by_number, b"ours ").unwrap();
        file.write_all(b"behind").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"before ours behind");
    }

    #[test]
    fn links_stay_and_what_they_lead_to_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (real, first, second) = (dir.path().join("real"), dir.path().join("first"), dir.path().join("second"));
        symlink("real", &first).unwrap();
        symlink(&first, &second).unwrap();
        // At first there is nothing at its end.
        for text in [&b"one"[..], b"two"] {
            AtomicFile::check(&second).unwrap();
            AtomicFile::write(&second, text).unwrap();
            assert!(first.is_symlink() && second.is_symlink() && !real.is_symlink());
            assert_eq!(std::fs::read(&real).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        let round = dir.path().join("round");
        symlink("round", &round).unwrap();
        assert!(AtomicFile::write(&round, b"").is_err());
        let far = dir.path().join("far");
        symlink("missing/x", &far).unwrap();
        let e = AtomicFile::write(&far, b"").unwrap_err();
        assert!(e.kind() == io::ErrorKind::NotFound && advice(&far, &e).contains("missing first"), "{e}");
    }

    #[test]
    fn who_might_not_read_the_old_file_may_not_read_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, b"old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        AtomicFile::write(&path, b"new").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn advice_is_about_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (there, missing) = (dir.path().join("x"), dir.path().join("no/x"));
        let of = |path: &Path, kind: io::ErrorKind| advice(path, &kind.into());
        assert!(of(&missing, io::ErrorKind::NotFound).contains("create the folder"));
        // As /proc says it: the folder is there all the same.
        assert!(of(&there, io::ErrorKind::NotFound).contains("takes no new files"));
        assert!(of(&there, io::ErrorKind::PermissionDenied).contains("you may not write"));
        assert!(of(&there, io::ErrorKind::ReadOnlyFilesystem).contains("read-only"));
        let folder = dir.path().join("new/");
        let e = AtomicFile::check(&folder).unwrap_err();
        assert!(advice(&folder, &e).contains("it is a folder"), "{e}");
        #[cfg(target_os = "linux")]
        {
            let path = Path::new("/proc/echogrid-test");
            let e = AtomicFile::check(path).unwrap_err();
            assert!(!advice(path, &e).contains("create the folder"), "{e}");
        }
    }

    #[test]
    fn a_waiting_reader_gets_nothing_of_what_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        pipe(&path);
        let file = AtomicFile::create(&path).unwrap();
        file.file().write_all(b"half").unwrap();
        drop(file);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || std::fs::read(path).unwrap()
        });
        std::thread::sleep(Duration::from_millis(50));
        AtomicFile::write(&path, b"whole").unwrap();
        assert_eq!(reader.join().unwrap(), b"whole");
    }

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
