//! Data directories that were written once and are kept in `tests/fixtures`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use keylane_engine::disk::{Disk, DiskFile, write_all_at};
use keylane_engine::log::files::padded;
use keylane_sim_disk::{SimDisk, SimOptions};

/// The directory `NAME.tar.gz` on a disk, durable.
pub async fn unpack(name: &str) -> SimDisk {
    let disk = SimDisk::new(1, SimOptions::immediate());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.tar.gz"));
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path).expect("the archive")));
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its bytes");
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        disk.create_dir(dir).await.expect("a folder");
        let file = disk.create(&path, content.len() as u64).await.expect("a file");
        write_all_at(&file, padded(&content), 0).await.expect("written");
        file.sync().await.expect("flushed");
        for dir in [dir, ""] {
            disk.sync_dir(dir).await.expect("flushed");
        }
    }
    disk
}
