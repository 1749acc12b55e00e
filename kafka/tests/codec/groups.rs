//! DescribeGroups, versions 0 to 6; ListGroups, versions 0 to 5; DeleteGroups, versions 0 to 2.
use kafka_protocol::messages::{
    DeleteGroupsRequest as TheirDelete, DeleteGroupsResponse as TheirDeleted,
    DescribeGroupsRequest as TheirDescribe, DescribeGroupsResponse as TheirDescribed, GroupId,
    ListGroupsRequest as TheirList, ListGroupsResponse as TheirListed,
};
use keylane_kafka::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse, DeletedGroup};
use keylane_kafka::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};
use keylane_kafka::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{answered, encoded, prefixes_are_refused, text};

fn group(s: &str) -> GroupId {
    GroupId(text(s))
}

#[test]
fn describe_groups_of_every_version() {
    for version in 0..=6 {
        let mut request = TheirDescribe::default().with_groups(vec![group("g"), group("h")]);
        if version >= 3 {
            request = request.with_include_authorized_operations(true);
        }
        let body = encoded(&request, version);
        let ours = DescribeGroupsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        assert_eq!(
            ours,
            DescribeGroupsRequest { groups: vec!["g", "h"], include_authorized_operations: version >= 3 }
        );
        prefixes_are_refused(&body, |r| DescribeGroupsRequest::decode(version, r).map(drop));

        let described = DescribedGroup {
            error: ErrorCode::GroupIdNotFound,
            error_message: Some("why".into()),
            group: "g".into(),
            state: "Dead".into(),
            authorized_operations: 12,
            ..Default::default()
        };
        let response = DescribeGroupsResponse { groups: vec![described], ..Default::default() };
        let theirs: TheirDescribed =
            answered(ApiKey::DescribeGroups, version, |w| response.encode(version, w));
        let found = &theirs.groups[0];
        assert_eq!((found.error_code, &found.group_id, &*found.group_state), (69, &group("g"), "Dead"));
        assert_eq!((&*found.protocol_type, &*found.protocol_data, found.members.len()), ("", "", 0));
        let message = if version >= 6 { Some(text("why")) } else { None };
        assert_eq!(found.error_message, message);
        assert_eq!(found.authorized_operations, if version >= 3 { 12 } else { i32::MIN });
    }
}

#[test]
fn list_groups_of_every_version() {
    for version in 0..=5 {
        let mut request = TheirList::default();
        if version >= 4 {
            request = request.with_states_filter(vec![text("Empty"), text("Dead")]);
        }
        if version >= 5 {
            request = request.with_types_filter(vec![text("classic")]);
        }
        let body = encoded(&request, version);
        let ours = ListGroupsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let states = if version >= 4 { vec!["Empty", "Dead"] } else { Vec::new() };
        let types = if version >= 5 { vec!["classic"] } else { Vec::new() };
        assert_eq!(ours, ListGroupsRequest { states, types });
        prefixes_are_refused(&body, |r| ListGroupsRequest::decode(version, r).map(drop));

        let listed = ListedGroup {
            group: "g".into(),
            protocol_type: "consumer".into(),
            state: "Empty".into(),
            group_type: "classic".into(),
        };
        let response = ListGroupsResponse {
            error: ErrorCode::CoordinatorNotAvailable,
            groups: vec![listed],
            ..Default::default()
        };
        let theirs: TheirListed = answered(ApiKey::ListGroups, version, |w| response.encode(version, w));
        let found = &theirs.groups[0];
        assert_eq!(
            (theirs.error_code, &found.group_id, &*found.protocol_type),
            (15, &group("g"), "consumer")
        );
        assert_eq!(&*found.group_state, if version >= 4 { "Empty" } else { "" });
        assert_eq!(&*found.group_type, if version >= 5 { "classic" } else { "" });
    }
}

#[test]
fn delete_groups_of_every_version() {
    for version in 0..=2 {
        let request = TheirDelete::default().with_groups_names(vec![group("g"), group("h")]);
        let body = encoded(&request, version);
        let ours = DeleteGroupsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        assert_eq!(ours, DeleteGroupsRequest { groups: vec!["g", "h"] });
        prefixes_are_refused(&body, |r| DeleteGroupsRequest::decode(version, r).map(drop));

        let result = |group: &'static str, error| DeletedGroup { group: group.into(), error };
        let results = vec![result("g", ErrorCode::None), result("h", ErrorCode::GroupIdNotFound)];
        let response = DeleteGroupsResponse { results, ..Default::default() };
        let theirs: TheirDeleted = answered(ApiKey::DeleteGroups, version, |w| response.encode(version, w));
        let flat: Vec<_> = theirs.results.iter().map(|r| (r.group_id.clone(), r.error_code)).collect();
        assert_eq!(flat, [(group("g"), 0), (group("h"), 69)]);
    }
}
