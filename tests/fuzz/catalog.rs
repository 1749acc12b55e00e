//! The catalog of a data directory, and the file that says what the directory is. A catalog that is taken can be changed, and
//! then read again.

use keylane_engine::catalog::{Catalog, NewTopic};
use keylane_engine::data_dir::DataDir;
use keylane_engine::log::files;
use keylane_sim_disk::{CrashStyle, Rng, SimDisk, SimOptions};
use keylane_tests::held::{inside, runtime};

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{edge, put_u32, spoil, spoil_in_place, u32_at};

const HEADER_BYTES: usize = 20;
const SHARDS: u16 = 2;

/// A directory with some topics.
async fn directory() -> SimDisk {
    let disk = SimDisk::new(1, SimOptions::immediate());
    DataDir::open_or_format(&disk, SHARDS).await.expect("an empty disk");
    let mut catalog = Catalog::open(disk.clone(), SHARDS).await.expect("an empty disk");
    let topic = |name: &str, partitions| {
        let configs = [("retention.ms".to_owned(), "1000".to_owned())].into();
        NewTopic { name: name.to_owned(), partitions, configs }
    };
    catalog.create(vec![topic("orders", 3), topic("events", 1)]).await.expect("room");
    disk
}

/// A catalog whose text is spoiled: anywhere, or in a number.
fn spoiled(good: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut text = good[HEADER_BYTES..][..u32_at(good, 12)].to_vec();
    for _ in 0..rng.below(3) {
        let digits: Vec<_> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
        if rng.one_in(4) || digits.is_empty() {
            spoil(&mut text, rng);
        } else {
            let at = digits[rng.below(digits.len() as u64) as usize];
            text.splice(at..at + 1, edge(rng).to_string().bytes());
        }
    }
    let mut out = good[..HEADER_BYTES].to_vec();
    put_u32(&mut out, 12, text.len() as u32);
    if rng.one_in(4) {
        spoil_in_place(&mut out, rng);
    }
    if !rng.one_in(8) {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[..16]), &text);
        put_u32(&mut out, 16, crc);
    }
    out.extend(text);
    out
}

#[test]
fn catalogs() {
    let runtime = runtime();
    let disk = inside(&runtime, directory());
    let good = disk.content("catalog").expect("a catalog");
    fuzz("catalog", 10_000, &mut |rng| {
        let bytes = spoiled(&good, rng);
        let disk = disk.crash_image(0, CrashStyle::AllKept);
        inside(&runtime, async {
            files::replace(&disk, "", "catalog", files::padded(&bytes)).await.map_err(|e| e.to_string())?;
            let Ok(mut catalog) = Catalog::open(disk.clone(), SHARDS).await else {
                return Ok(Outcome::Refused);
            };
            let new = NewTopic { name: "new".to_owned(), partitions: 2, configs: Default::default() };
            let made = catalog.create(vec![new]).await.is_ok();
            let id = catalog.next_producer_id().await.is_ok();
            let _ = catalog.grow("orders", 5).await;
            let names = |catalog: &Catalog| catalog.topics().map(|t| (**t).clone()).collect::<Vec<_>>();
            let again =
                Catalog::open(disk.clone(), SHARDS).await.map_err(|e| format!("not read again: {e}"))?;
            let same = format!("{:?}", names(&again)) == format!("{:?}", names(&catalog));
            if same { Ok(Outcome::of(made && id)) } else { Err("other topics".to_owned()) }
        })
    });
}

#[test]
fn formats() {
    let runtime = runtime();
    let disk = inside(&runtime, directory());
    let good = disk.content("keylane.format").expect("a format");
    fuzz("format", 3_000, &mut |rng| {
        let mut bytes = good.clone();
        spoil_in_place(&mut bytes[..36], rng);
        if !rng.one_in(4) {
            let crc = crc32c::crc32c(&bytes[..32]);
            put_u32(&mut bytes, 32, crc);
        }
        let disk = disk.crash_image(0, CrashStyle::AllKept);
        inside(&runtime, async {
            files::replace(&disk, "", "keylane.format", files::padded(&bytes))
                .await
                .map_err(|e| e.to_string())?;
            let Ok((dir, version)) = DataDir::read(&disk).await else { return Ok(Outcome::Refused) };
            let sane = dir.shards > 0 && version as usize == u32_at(&bytes, 8);
            if sane { Ok(Outcome::Taken) } else { Err(format!("{dir:?}, version {version}")) }
        })
    });
}

/// The negative control: a reader that believes the length of the text.
#[test]
fn a_length_that_is_believed_is_found() {
    let good = inside(&runtime(), directory()).content("catalog").expect("a catalog");
    must_find("a length that is believed", &mut |rng| {
        let bytes = spoiled(&good, rng);
        let text = &bytes[HEADER_BYTES..HEADER_BYTES + u32_at(&bytes, 12)];
        Ok(Outcome::of(text.starts_with(b"{")))
    });
}
