//! The settings of a topic in the catalog of a real directory: replaced as a whole, and there after it is
//! opened again.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use keylane_engine::catalog::{Catalog, CatalogError, NewTopic};
use keylane_engine::disk::uring::UringDisk;

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn settings_are_replaced_durably() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    tokio_uring::start(async {
        let disk = UringDisk::new(dir.path(), true);
        let mut catalog = Catalog::open(disk.clone(), 1).await.unwrap();
        let new =
            NewTopic { name: "t".to_owned(), partitions: 2, configs: settings(&[("a", "1"), ("b", "2")]) };
        let created = catalog.create(vec![new]).await.unwrap().remove(0);
        let changed = catalog.configure("t", settings(&[("b", "3"), ("c", "4")])).await.unwrap();
        assert_eq!(changed.configs, settings(&[("b", "3"), ("c", "4")]));
        assert_eq!((changed.id, &changed.partitions), (created.id, &created.partitions));
        let unknown = catalog.configure("u", settings(&[])).await;
        assert!(matches!(unknown, Err(CatalogError::Unknown(name)) if name == "u"));
        drop(catalog);
        let again = Catalog::open(disk, 1).await.unwrap();
        assert_eq!(again.topic("t"), Some(&changed));
    });
}
