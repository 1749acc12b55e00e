//! FindCoordinator, versions 0 to 6: one key and its answer before version 4, lists of them from then on.
use kafka_protocol::messages as theirs;
use keylane_kafka::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{answered, encoded, text};

#[test]
fn one_key_or_several() {
    for version in 0..=6 {
        let request = match version {
            ..4 => theirs::FindCoordinatorRequest::default().with_key(text("g")),
            _ => theirs::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]),
        };
        let body = encoded(&request, version);
        let ours = FindCoordinatorRequest::decode(version, &mut Reader::new(&body)).unwrap();
        assert_eq!((ours.key_type, ours.keys(version)), (0, &["g"][..]), "v{version}");

        let refused = Coordinator {
            key: "g".into(),
            error: ErrorCode::UnsupportedVersion,
            error_message: Some("why".into()),
            ..Coordinator::default()
        };
        let response = FindCoordinatorResponse::new(version, vec![refused]);
        let theirs: theirs::FindCoordinatorResponse =
            answered(ApiKey::FindCoordinator, version, |w| response.encode(version, w));
        let told = match version {
            ..4 => (theirs.error_code, theirs.error_message, theirs.node_id.0, theirs.port),
            _ => {
                let [c] = &theirs.coordinators[..] else { panic!("{theirs:?}") };
                (c.error_code, c.error_message.clone(), c.node_id.0, c.port)
            }
        };
        let why = if version >= 1 { "why" } else { "" };
        assert_eq!(told, (35, Some(text(why)), -1, -1), "v{version}");
        // An answer to no keys at all is an error, where there must be one.
        let nothing = FindCoordinatorResponse::new(version, Vec::new());
        assert_eq!(nothing.error.is_none(), version >= 4);
    }
}
