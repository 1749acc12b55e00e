//! What the system must offer, checked before anything starts.
//!
//! Promise: whatever the system lacks becomes a typed error at the start, with its cause and what to do about it. The checks
//! leave no files behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Oldest kernel whose io_uring has all operations that the engine uses.
const KERNEL_MIN: (u32, u32) = (5, 11);
const PAGE_BYTES: usize = 4096;

/// A requirement that the system does not meet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The kernel has no io_uring, or lacks operations of it.
    #[error("io_uring is not available: Linux {release} is too old")]
    KernelTooOld {
        /// The kernel's version.
        release: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// io_uring is switched off for the whole system.
    #[error("io_uring is switched off (/proc/sys/kernel/io_uring_disabled is {setting})")]
    UringDisabled {
        /// 1: for processes without privileges, 2: for all.
        setting: u8,
        /// The error of the operating system.
        source: io::Error,
    },
    /// io_uring is blocked for this process (seccomp, for example), although the kernel has it.
    #[error("io_uring is blocked for this process, although Linux {release} has it")]
    UringBlocked {
        /// The kernel's version.
        release: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The limit of locked memory is too low for a ring.
    #[error("the limit of locked memory is too low for an io_uring ring")]
    LockedMemory {
        /// The error of the operating system.
        source: io::Error,
    },
    /// Any other failure of io_uring.
    #[error("io_uring cannot be set up")]
    Uring {
        /// The error of the operating system.
        source: io::Error,
    },
    /// The data directory cannot be written.
    #[error("cannot write in {directory}", directory = directory.display())]
    DataDirectory {
        /// Where the probe was written.
        directory: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path of the data directory names something that is not a directory.
    #[error("{path} is not a directory", path = path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The file system of the data directory does not support O_DIRECT.
    #[error("the file system of {directory} ({file_system}) does not support O_DIRECT", directory = directory.display())]
    NoDirectIo {
        /// The directory in which O_DIRECT was tried.
        directory: PathBuf,
        /// The file system of that directory.
        file_system: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl EnvironmentError {
    /// What a person can do about the missing requirement.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::KernelTooOld { .. } => "run Linux 5.11 or newer; 6.1 or newer is recommended",
            Self::UringDisabled { .. } => {
                "as root: sysctl kernel.io_uring_disabled=0 (and in /etc/sysctl.d to keep it)"
            }
            Self::UringBlocked { .. } => {
                "a seccomp filter or sandbox refuses it: allow io_uring_setup, io_uring_enter and \
                 io_uring_register in the container's seccomp profile (docker run --security-opt \
                 seccomp=profile.json), or in SystemCallFilter= of the service"
            }
            Self::LockedMemory { .. } => {
                "raise the limit of locked memory: ulimit -l unlimited, LimitMEMLOCK=infinity of the service, or \
                 docker run --ulimit memlock=-1"
            }
            Self::Uring { .. } => "check the limits of this process (ulimit -a) and the kernel's log (dmesg)",
            Self::DataDirectory { .. } => {
                "choose another directory, or give this user the right to write there and free space"
            }
            Self::NotADirectory { .. } => "choose a directory",
            Self::NoDirectIo { .. } => {
                "choose a directory on ext4 or xfs, or accept the page cache's cost (server: --io buffered; \
                 crate: Options::direct_io = false)"
            }
        }
    }
}

/// Checks that io_uring works and has all operations that the engine uses.
pub fn check_uring() -> Result<(), EnvironmentError> {
    use io_uring::{IoUring, Probe, opcode};
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let explain = |source| explain_uring(source, release.trim(), disabled.trim());
    let ring = IoUring::new(8).map_err(explain)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(explain)?;
    let needed = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::Writev::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::OpenAt::CODE,
        opcode::Close::CODE,
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
    ];
    match needed.iter().find(|&&code| !probe.is_supported(code)) {
        None => Ok(()),
        Some(code) => {
            let source = io::Error::other(format!("operation {code} is not supported"));
            Err(EnvironmentError::KernelTooOld { release: release.trim().to_owned(), source })
        }
    }
}

fn explain_uring(source: io::Error, release: &str, disabled: &str) -> EnvironmentError {
    let release = release.to_owned();
    let old = kernel_version(&release).is_some_and(|version| version < KERNEL_MIN);
    match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS) if old => {
            EnvironmentError::KernelTooOld { release, source }
        }
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => match disabled.parse() {
            Ok(setting @ 1..) => EnvironmentError::UringDisabled { setting, source },
            _ => EnvironmentError::UringBlocked { release, source },
        },
        Some(Errno::NOMEM) => EnvironmentError::LockedMemory { source },
        Some(Errno::INVAL) if old => EnvironmentError::KernelTooOld { release, source },
        _ => EnvironmentError::Uring { source },
    }
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Checks that files can be written in the data directory, or in its nearest existing parent, with O_DIRECT if
/// `direct_io` is set.
///
/// A missing directory is not created here: the code that creates it also makes its entry durable.
pub fn check_data_directory(data: &Path, direct_io: bool) -> Result<(), EnvironmentError> {
    let directory = nearest_existing(data);
    if !directory.is_dir() {
        return Err(EnvironmentError::NotADirectory { path: directory.to_owned() });
    }
    let path = directory.join(format!(".keylane-probe-{}", std::process::id()));
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let result = probe(&path, flags).and_then(|()| match direct_io {
        true => probe(&path, flags | OFlags::DIRECT).map_err(ProbeError::direct),
        false => Ok(()),
    });
    // If the probe file could not be created, there is nothing to remove.
    let removed = std::fs::remove_file(&path);
    let directory = directory.to_owned();
    match (result, removed) {
        (Err(ProbeError { source, direct: true }), _) => {
            Err(EnvironmentError::NoDirectIo { file_system: file_system(&directory), directory, source })
        }
        (Err(ProbeError { source, direct: false }), _) | (Ok(()), Err(source)) => {
            Err(EnvironmentError::DataDirectory { directory, source })
        }
        (Ok(()), Ok(())) => Ok(()),
    }
}

struct ProbeError {
    source: io::Error,
    /// Whether the same write succeeded without O_DIRECT.
    direct: bool,
}

impl ProbeError {
    fn direct(mut self) -> Self {
        self.direct = true;
        self
    }
}

#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

/// Opens a file and writes one aligned page.
fn probe(path: &Path, flags: OFlags) -> Result<(), ProbeError> {
    let failed = |source| ProbeError { source, direct: false };
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(e.into()))?;
    let page = Box::new(Page([0x5a; PAGE_BYTES]));
    File::from(file).write_all_at(&page.0, 0).map_err(failed)
}

fn nearest_existing(path: &Path) -> &Path {
    let here = Path::new(".");
    let existing = path.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(here)
}

fn file_system(path: &Path) -> &'static str {
    match rustix::fs::statfs(path).map(|stat| stat.f_type as u32) {
        Ok(0xef53) => "ext4",
        Ok(0x5846_5342) => "xfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x794c_7630) => "overlayfs",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x2fc1_2fc1) => "zfs",
        Ok(0x6969) => "nfs",
        Ok(0x6573_5546) => "fuse",
        Ok(0x0102_1997) => "9p",
        _ => "of a type not known here",
    }
}

/// Whether a directory, or where it would be created, lies in memory (tmpfs or ramfs): nothing there survives a power
/// cut. What cannot be asked counts as a disk.
pub fn is_in_memory(data: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    let file_system = rustix::fs::statfs(nearest_existing(data)).map(|found| found.f_type as u64);
    file_system.is_ok_and(|kind| kind == TMPFS || kind == RAMFS)
}

/// Raises the limit of open files as far as the process may; returns the limit, `None` if there is no limit.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_from_a_disk() {
        assert!(is_in_memory(Path::new("/dev/shm/not-there-yet")));
        assert!(!is_in_memory(Path::new("/proc")));
        assert!(!is_in_memory(Path::new(env!("CARGO_MANIFEST_DIR"))));
    }

    #[test]
    fn a_refused_ring_is_explained() {
        let explain = |errno: Errno, release, disabled| explain_uring(errno.into(), release, disabled);
        for errno in [Errno::NOSYS, Errno::PERM, Errno::INVAL] {
            let error = explain(errno, "4.18.0-553.el8_10.x86_64", "");
            assert!(matches!(error, EnvironmentError::KernelTooOld { .. }), "{error:?}");
        }
        let error = explain(Errno::PERM, "6.6.1", "2");
        assert!(matches!(error, EnvironmentError::UringDisabled { setting: 2, .. }));
        assert!(error.advice().contains("sysctl kernel.io_uring_disabled=0"));
        let error = explain(Errno::PERM, "6.6.1", "0");
        assert!(matches!(error, EnvironmentError::UringBlocked { .. }));
        assert!(error.advice().contains("seccomp"));
        assert!(matches!(explain(Errno::NOSYS, "6.6.1", ""), EnvironmentError::UringBlocked { .. }));
        assert!(matches!(explain(Errno::NOMEM, "5.11.0", ""), EnvironmentError::LockedMemory { .. }));
        assert!(matches!(explain(Errno::MFILE, "6.6.1", "0"), EnvironmentError::Uring { .. }));
    }

    #[test]
    fn kernel_versions() {
        assert_eq!(kernel_version("6.12.0-rc1+"), Some((6, 12)));
        assert_eq!(kernel_version("5.4.0-42-generic"), Some((5, 4)));
        assert_eq!(kernel_version("linux"), None);
    }

    #[test]
    fn a_directory_is_probed_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("not/yet/there");
        check_data_directory(&deep, false).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(!deep.exists());
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = check_data_directory(&file, false).unwrap_err();
        assert!(matches!(error, EnvironmentError::NotADirectory { .. }), "{error:?}");
        assert_eq!(nearest_existing(Path::new("keylane-data-that-is-not-there")), Path::new("."));
    }

    #[test]
    fn a_file_system_without_direct_io_is_told_apart() {
        // No file at all can be created here, so O_DIRECT is not to blame.
        let error = check_data_directory(Path::new("/proc/self"), true).unwrap_err();
        assert!(matches!(error, EnvironmentError::DataDirectory { .. }), "{error:?}");
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let limit = raise_open_files().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
    }
}
