//! The file that a page is written to.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use tempfile::{Builder, NamedTempFile};

/// The maximum number of symbolic links to follow, as in Linux.
const MAX_LINKS: usize = 40;

/// The path of a page (`--report`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile(PathBuf);

/// A page that cannot be written, with the cause.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the report to {}: {why}", path.display())]
pub struct CannotWrite {
    path: PathBuf,
    why: String,
}

// === impl ReportFile ===

impl ReportFile {
    /// Checks that a page can be written, so that a load of an hour does not end with a failure to write its report.
    ///
    /// # Errors
    ///
    /// Fails if the page cannot be written.
    pub fn check(&self) -> Result<(), CannotWrite> {
        self.begin().map(drop)
    }

    /// Writes a page atomically: an existing file is replaced in one step.
    ///
    /// # Errors
    ///
    /// Fails if the page cannot be written; an existing file is then unchanged.
    pub fn write(&self, page: &str) -> Result<(), CannotWrite> {
        let (mut file, path) = self.begin()?;
        let written = file.write_all(page.as_bytes()).and_then(|()| file.as_file().sync_all());
        written.map_err(|error| self.cannot(reason(&error)))?;
        file.persist(path).map(drop).map_err(|error| self.cannot(error.error.to_string()))
    }

    /// Creates a temporary file, and returns it with the path of the report.
    fn begin(&self) -> Result<(NamedTempFile, PathBuf), CannotWrite> {
        let path = followed(&self.0).map_err(|error| self.cannot(reason(&error)))?;
        match fs::metadata(&path) {
            Ok(there) if there.is_dir() => return Err(self.cannot("it is a directory; name a file in it")),
            // Renaming a file to this path would replace the device.
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

/// Follows symbolic links to the file that they lead to, which need not exist.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            // The target of a link is relative to the directory of the link.
            Ok(target) => path = path.parent().map_or_else(|| target.clone(), |parent| parent.join(&target)),
            // Not a link, or the file does not exist.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links lead to each other"))
}

/// Creates a temporary file, which is deleted when dropped unless it is persisted.
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".kubetester-").suffix(".html");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The default mode of new files, subject to the umask. Otherwise only the owner could read the report.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory)
}

/// Returns the text of an error without the path of the temporary file, which means nothing to users.
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
    fn written_page_leaves_no_other_files() {
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
    fn page_is_written_through_symbolic_links() {
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
    fn unwritable_path_is_an_error_with_a_hint() {
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
