//! The file that a page goes to.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use tempfile::{Builder, NamedTempFile};

/// More symbolic links than this in a row are taken for a circle, as by Linux.
const MOST_LINKS: usize = 40;

/// A place for a page (`--report`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile(PathBuf);

/// Why a page cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report to {}: {why}", path.display())]
pub struct CannotWrite {
    path: PathBuf,
    why: String,
}

// === impl ReportFile ===

impl ReportFile {
    /// Returns whether a page could be written now: nobody wants to hear that it cannot after an hour of load.
    ///
    /// # Errors
    ///
    /// When it could not.
    pub fn check(&self) -> Result<(), CannotWrite> {
        self.begin().map(drop)
    }

    /// Writes a page, and lets nobody see half of it: it replaces what was there in one step.
    ///
    /// # Errors
    ///
    /// When it cannot; then what was there still is.
    pub fn write(&self, page: &str) -> Result<(), CannotWrite> {
        let (mut file, path) = self.begin()?;
        let written = file.write_all(page.as_bytes()).and_then(|()| file.as_file().sync_all());
        written.map_err(|error| self.cannot(reason(&error)))?;
        file.persist(path).map(drop).map_err(|error| self.cannot(error.error.to_string()))
    }

    /// A file that does not have its name yet, and the name.
    fn begin(&self) -> Result<(NamedTempFile, PathBuf), CannotWrite> {
        let path = followed(&self.0).map_err(|error| self.cannot(reason(&error)))?;
        match fs::metadata(&path) {
            Ok(there) if there.is_dir() => return Err(self.cannot("it is a directory; name a file in it")),
            // A rename would put a file in the place of the device.
            Ok(there) if !there.is_file() => return Err(self.cannot("it is not a regular file")),
            Ok(_) | Err(_) => {}
        }
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = new_file(directory).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "; make the directory first",
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "; its directory must be writable"
                }
                _ => "",
            };
            self.cannot(format!("{}{hint}", reason(&error)))
        })?;
        Ok((file, path))
    }

    fn cannot(&self, why: impl Into<String>) -> CannotWrite {
        CannotWrite { path: self.0.clone(), why: why.into() }
    }
}

impl FromStr for ReportFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Path::new(text).file_name() {
            Some(_) if !text.ends_with('/') => Ok(Self(text.into())),
            _ => Err("it names no file; write FILE.html".to_owned()),
        }
    }
}

/// Follows symbolic links to the file that they lead to, also if that is not there yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // What a link says counts from the link's own directory.
            Ok(target) => path = path.parent().map_or_else(|| target.clone(), |parent| parent.join(&target)),
            // It is no link, or nothing is there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links lead to each other"))
}

/// One that is gone again unless it is given a name.
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".kubetester-").suffix(".html");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any file; the umask takes from it. Without this, only its owner could read it.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

/// An error without the path of the temporary file, which nobody knows.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> ReportFile {
        path.to_str().unwrap().parse().unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_page_is_there_whole_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = at(&directory.path().join("a.html"));
        file.check().unwrap();
        assert_eq!(names(directory.path()), [""; 0], "a check leaves nothing behind");
        for page in ["first, which is long", "second"] {
            file.write(page).unwrap();
            assert_eq!(fs::read_to_string(&file.0).unwrap(), page);
            assert_eq!(names(directory.path()), ["a.html"]);
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_one_and_others_may_read() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "").unwrap();
        symlink(&real, &link).unwrap();
        let dangling = directory.path().join("dangling");
        symlink("new", &dangling).unwrap();
        symlink("circle", directory.path().join("circle")).unwrap();
        at(&dangling).write("new page").unwrap();
        assert!(fs::symlink_metadata(&dangling).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(directory.path().join("new")).unwrap(), "new page");
        let circle = at(&directory.path().join("circle")).write("").unwrap_err().to_string();
        assert!(circle.contains("symbolic links"), "{circle}");
        at(&link).write("page").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "page");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o600, 0o600);
    }

    #[test]
    fn what_cannot_be_written_is_said_in_one_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent/a.html");
        fs::write(directory.path().join("file"), "").unwrap();
        for (path, why) in [
            (absent.as_path(), "make the directory first"),
            (directory.path(), "it is a directory; name a file in it"),
            (Path::new("/dev/null"), "it is not a regular file"),
            (&directory.path().join("file/a.html"), "Not a directory"),
        ] {
            let sentence = at(path).check().unwrap_err().to_string();
            assert!(sentence.contains(why) && sentence.contains(path.to_str().unwrap()), "{sentence}");
            assert_eq!(at(path).write("").unwrap_err().to_string(), sentence);
        }
        for wrong in ["", "a/", "/", ".."] {
            assert!(wrong.parse::<ReportFile>().is_err(), "{wrong}");
        }
    }
}
