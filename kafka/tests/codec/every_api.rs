//! Every API of the table, in every version, both directions: a message that is written here is understood by an
//! independent codec, which writes the same bytes; and it is read back here.
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use keylane_kafka::field::Field;
use keylane_kafka::{ApiKey, Message, Reader, SERVED, Writer, messages};

/// Versions that the independent codec does not have, with the one that has the same fields.
fn their_version(api: ApiKey, version: i16) -> i16 {
    if api == ApiKey::ListOffsets { version.min(10) } else { version }
}

/// Versions of which the independent codec does not have the request: its bytes are written out by hand in `offsets`.
const BY_HAND: [(ApiKey, i16); 2] = [(ApiKey::OffsetCommit, 10), (ApiKey::OffsetFetch, 10)];

fn written<'a>(message: &impl Message<'a>, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(version, &mut Writer::new(&mut out));
    out.freeze()
}

/// What is wrong with the bytes of a message, if something is.
fn disagreement<T: Decodable + Encodable>(api: ApiKey, version: i16, bytes: &Bytes) -> Option<String> {
    let version = their_version(api, version);
    let mut rest = bytes.clone();
    let message = match T::decode(&mut rest, version) {
        Ok(message) => message,
        Err(e) => return Some(format!("not understood: {e}")),
    };
    if rest.has_remaining() {
        return Some(format!("{} bytes are left", rest.remaining()));
    }
    let mut again = BytesMut::new();
    match message.encode(&mut again, version) {
        Err(e) => Some(format!("not written again: {e}")),
        Ok(()) if again[..] != bytes[..] => Some(format!("written as {again:x?}")),
        Ok(()) => None,
    }
}

/// Checks a message with something in each field, and one of defaults.
fn check<'a, M: Message<'a> + PartialEq + std::fmt::Debug, T: Decodable + Encodable + TheirMessage>(
    version: i16,
    read: impl Fn(&[u8], &M) -> Result<(), String>,
) {
    for message in [M::sample(M::API.at(version), &mut 0), M::default()] {
        let bytes = written(&message, version);
        let what = format!("{:?} v{version}: {message:?}", M::API);
        if T::VERSIONS.max < their_version(M::API, version) {
            assert!(BY_HAND.contains(&(M::API, version)), "{what}");
        } else {
            assert_eq!(disagreement::<T>(M::API, version, &bytes), None, "{what}");
        }
        read(&bytes, &message).unwrap_or_else(|error| panic!("{what}: {error}"));
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len], &message).is_err(), "{what}: {len} of {} bytes", bytes.len());
        }
    }
}

macro_rules! every_message {
    ($(
        $name:ident = $key:literal, $min:literal..=$max:literal $(advertised $advertised:literal)?,
        flexible $flexible:literal,
        $module:ident::{$request:ident $(<$lt:lifetime>)?, $response:ident $(<$rlt:lifetime>)?};
    )*) => {
        #[test]
        fn requests_and_responses_agree_with_an_independent_codec() {
            let mut seen = Vec::new();
            $(for version in $min..=$max {
                every_message!(@check version, $module, $request);
                every_message!(@check version, $module, $response);
                seen.push((ApiKey::$name, version));
            })*
            let all = SERVED.iter().flat_map(|spec| (spec.min..=spec.max).map(|version| (spec.key, version)));
            assert_eq!(seen, all.collect::<Vec<_>>());
        }
    };
    (@check $version:ident, $module:ident, $message:ident) => {
        check::<messages::$module::$message, theirs::$message>($version, |bytes, message| {
            let mut r = Reader::new(bytes);
            let back = messages::$module::$message::decode($version, &mut r).map_err(|e| e.to_string())?;
            r.finish().map_err(|e| e.to_string())?;
            // A name that may not be null in this version is written as an empty one, and so read.
            let same = back == *message || written(&back, $version) == written(message, $version);
            if same { Ok(()) } else { Err(format!("read as {back:?}")) }
        });
    };
}

keylane_kafka::for_each_api!(every_message);

/// The negative control: bytes of another version, a byte too many, and fields that changed places are noticed.
#[test]
fn a_codec_that_differs_is_noticed() {
    let sample = |version| ApiKey::ListOffsets.sample_request(version).freeze();
    let wrong = |bytes| disagreement::<theirs::ListOffsetsRequest>(ApiKey::ListOffsets, 6, &bytes);
    assert_eq!(wrong(sample(6)), None);
    assert!(wrong(sample(5)).is_some());
    assert!(wrong([&sample(6)[..], &[0]].concat().into()).is_some());
    let key =
        messages::find_coordinator::FindCoordinatorRequest::sample(ApiKey::FindCoordinator.at(4), &mut 0);
    let mut swapped = BytesMut::new();
    let mut w = Writer::new(&mut swapped);
    let at = ApiKey::FindCoordinator.at(4);
    key.coordinator_keys.write(&mut w, at);
    key.key_type.write(&mut w, at);
    w.no_tags(true);
    let theirs =
        disagreement::<theirs::FindCoordinatorRequest>(ApiKey::FindCoordinator, 4, &swapped.freeze());
    assert!(theirs.is_some());
}
