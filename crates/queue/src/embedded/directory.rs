//! The directory of a queue on disk: who may use it, and what its files mean.

use std::{
    error::Error,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The version of the format that this program writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 2;

const LOCK: &str = "lock";
const FORMAT_FILE: &str = "format";
const STORE: &str = "queue.sqlite";

/// Nobody but the owner reads the files: they contain the tokens of private channels.
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// A directory that no other process uses for as long as this exists.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

/// Why a queue on disk could not be opened. Each is a sentence for whoever started the process.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such directory, or it may not be used.
    #[error("cannot use the directory {0}")]
    Unusable(PathBuf, #[source] io::Error),
    /// Another process uses the directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The directory has a format that this program does not know.
    #[error("{0} has format {1}, and this version of fibwire knows format {FORMAT} only")]
    Format(PathBuf, String),
    /// The files in the directory could not be opened.
    #[error("cannot open the queue in {0}")]
    Store(PathBuf, #[source] Box<dyn Error + Send + Sync>),
    /// The thread that writes could not be started.
    #[error("cannot start the thread of the queue")]
    Thread(#[source] io::Error),
}

impl Directory {
    /// Takes the directory, and creates it if it does not exist.
    pub(super) fn create(path: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Unusable(path.to_owned(), error);
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIRECTORY)
            .create(path)
            .map_err(unusable)?;
        let directory = Self::lock(path)?;
        if !directory.path.join(FORMAT_FILE).exists() {
            directory.write_format().map_err(unusable)?;
        }
        directory.check_format()?;
        // SQLite gives its other files the mode of this one.
        private_file(&directory.store()).map_err(unusable)?;
        Ok(directory)
    }

    /// Takes a directory that exists and has a queue in it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.join(FORMAT_FILE).exists() {
            let error = io::Error::new(io::ErrorKind::NotFound, "there is no queue in it");
            return Err(OpenError::Unusable(path.to_owned(), error));
        }
        let directory = Self::lock(path)?;
        directory.check_format()?;
        Ok(directory)
    }

    /// The file of the store.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(path: &Path) -> Result<Self, OpenError> {
        let lock = private_file(&path.join(LOCK))
            .map_err(|error| OpenError::Unusable(path.to_owned(), error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(OpenError::Unusable(path.to_owned(), error)),
        }
    }

    /// Writes the format file so that it is whole or not there.
    fn write_format(&self) -> io::Result<()> {
        let new = self.path.join(format!("{FORMAT_FILE}.new"));
        let mut file = private_file(&new)?;
        writeln!(file, "{FORMAT}")?;
        file.sync_all()?;
        fs::rename(new, self.path.join(FORMAT_FILE))?;
        File::open(&self.path)?.sync_all()
    }

    fn check_format(&self) -> Result<(), OpenError> {
        let format = fs::read_to_string(self.path.join(FORMAT_FILE))
            .map_err(|error| OpenError::Unusable(self.path.clone(), error))?;
        let format = format.trim();
        if format == FORMAT.to_string() {
            Ok(())
        } else {
            Err(OpenError::Format(self.path.clone(), format.to_owned()))
        }
    }
}

/// Opens a file, and creates it if it does not exist.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(path)
}
