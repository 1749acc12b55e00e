//! No frame makes a decoder panic, or allocate more than a small multiple of the frame's own length.
//!
//! The story: a Kafka broker died of a 20-byte request whose array length said two thousand million
//! (KAFKA-14063), and codecs that reserve what a length claims still do. Here an allocator counts every byte
//! that a decode asks for, over valid requests of every API and version and over what mutation makes of them.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use keylane_kafka::hot::produce::ProduceRequest;
use keylane_kafka::wire::Reader;
use keylane_kafka::{ApiKey, Message, Request, RequestHeader, SERVED, messages};
use proptest::prelude::*;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is; counting touches only a thread-local
// cell that needs neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get().saturating_add(layout.size()));
        // SAFETY: the caller's promises about `layout` are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above, that is from the system's allocator, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `work` allocated in all, freed ones included.
fn allocated(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.get();
    work();
    ALLOCATED.get() - before
}

/// Most bytes that decoding a frame may allocate.
fn bound(frame: &[u8]) -> usize {
    64 * frame.len() + 64 * 1024
}

macro_rules! read_response {
    ($(
        $name:ident = $key:literal, $min:literal..=$max:literal $(advertised $advertised:literal)?,
        flexible $flexible:literal,
        $module:ident::{$request:ident $(<$lt:lifetime>)?, $response:ident $(<$rlt:lifetime>)?};
    )*) => {
        /// Decodes a body as a response, as a client does.
        fn decode_response(api: ApiKey, version: i16, body: &[u8]) -> bool {
            let mut r = Reader::new(body);
            match api {
                $(ApiKey::$name => messages::$module::$response::decode(version, &mut r).is_ok(),)*
            }
        }
    };
}

keylane_kafka::for_each_api!(read_response);

fn within(api: ApiKey, version: i16, body: &[u8], bytes: usize) {
    assert!(
        bytes <= bound(body),
        "{api:?} v{version}: {bytes} bytes for a body of {}: {body:x?}",
        body.len()
    );
}

fn check(api: ApiKey, version: i16, body: &[u8]) {
    let decode = || drop(Request::decode(api, version, &mut Reader::new(body)));
    within(api, version, body, allocated(decode));
    within(api, version, body, allocated(|| _ = decode_response(api, version, body)));
    if api == ApiKey::Produce {
        let in_place = || {
            if let Ok(produce) = ProduceRequest::decode(version, &mut Reader::new(body)) {
                assert_eq!(produce.partitions().count(), produce.outline.partition_count);
            }
        };
        assert_eq!(allocated(in_place), 0, "Produce is decoded in place without allocating");
    }
}

/// Valid bodies of an API and version: a request and a response, with at least two elements in each array.
fn valid(api: ApiKey, version: i16) -> [Vec<u8>; 2] {
    [api.sample_request(version).to_vec(), api.sample_response(version).to_vec()]
}

fn every_version() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.iter().flat_map(|spec| (spec.min..=spec.max).map(|version| (spec.key, version)))
}

#[test]
fn valid_requests_are_decoded_within_the_bound() {
    for (api, version) in every_version() {
        let [request, response] = valid(api, version);
        assert!(Request::decode(api, version, &mut Reader::new(&request)).is_ok(), "{api:?} v{version}");
        assert!(decode_response(api, version, &response), "{api:?} v{version}");
        check(api, version, &request);
        check(api, version, &response);
    }
}

fn every_body() -> impl Iterator<Item = (ApiKey, i16, Vec<u8>)> {
    every_version().flat_map(|(api, version)| valid(api, version).map(|body| (api, version, body)))
}

/// The negative control: a decoder that believes a length breaks the bound and is caught.
#[test]
#[should_panic(expected = "bytes for a body of")]
fn a_decoder_that_believes_a_length_is_caught() {
    let [body, _] = valid(ApiKey::Metadata, 1);
    let bytes = allocated(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20))));
    assert!(bytes <= bound(&body), "{bytes} bytes for a body of {}", body.len());
}

#[test]
fn a_huge_length_at_any_place_allocates_nothing_for_it() {
    let huge: [&[u8]; 5] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0, 0, 0],
        &[0x00, 0xff, 0xff, 0xff],
    ];
    for (api, version, body) in every_body() {
        for at in 0..body.len() {
            for length in huge {
                let mut overwritten = body.clone();
                overwritten.splice(at..(at + length.len()).min(body.len()), length.iter().copied());
                check(api, version, &overwritten);
                let mut inserted = body.clone();
                inserted.splice(at..=at, length.iter().copied());
                check(api, version, &inserted);
            }
        }
    }
}

/// The worst that is still true: as many of the smallest elements as the frame holds.
#[test]
fn as_many_small_elements_as_fit_stay_within_the_bound() {
    const FILL: usize = 8192;
    for (api, version, body) in every_body() {
        for at in 0..=body.len() {
            for count in [FILL, FILL / 2, FILL / 3, FILL / 4, FILL / 6, FILL / 16] {
                for filler in [0u8, 1, 2] {
                    let head = body.get(..at).unwrap_or_default();
                    let mut fixed = head.to_vec();
                    fixed.extend((count as u32).to_be_bytes());
                    fixed.resize(fixed.len() + FILL, filler);
                    check(api, version, &fixed);
                    let mut compact = head.to_vec();
                    compact.extend([((count + 1) & 0x7f) as u8 | 0x80, ((count + 1) >> 7) as u8 & 0x7f]);
                    compact.resize(compact.len() + FILL, filler);
                    check(api, version, &compact);
                }
            }
        }
    }
}

fn any_version() -> impl Strategy<Value = (ApiKey, i16)> {
    proptest::sample::select(every_version().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes((api, version) in any_version(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(api, version, &body);
    }

    #[test]
    fn mutated_requests(
        (api, version) in any_version(),
        response in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = valid(api, version)[usize::from(response)].clone();
        for (at, byte) in changes {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len() + 1));
        }
        check(api, version, &body);
    }

    #[test]
    fn random_headers(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
        let bytes = allocated(|| {
            let _ = RequestHeader::decode(&mut Reader::new(&frame));
        });
        prop_assert_eq!(bytes, 0);
    }
}
