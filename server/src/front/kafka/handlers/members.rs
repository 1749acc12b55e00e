//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: the members of classic groups.

use std::sync::Arc;

use bytes::Bytes;
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use keylane_kafka::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinedMember};
use keylane_kafka::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, LeavingMember, LeftMember,
};
use keylane_kafka::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use uuid::Uuid;

use crate::coordinator::groups::classic::{Join, Leaving, Refused, Sync};
use crate::coordinator::groups::{self, GroupError};
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{code_of_group, code_of_member};
use crate::front::kafka::handlers::Handle;

/// First version of JoinGroup in which a new member is given an id before it joins (KIP-394).
const ID_FIRST: i16 = 4;
/// First version of JoinGroup in which a leader can be told not to assign (KIP-814).
const SKIPS: i16 = 9;
/// First version of JoinGroup in which there may be no protocol in the answer.
const NO_PROTOCOL: i16 = 7;
/// First version of SyncGroup that says what the member was told of the protocol.
const SAYS_PROTOCOL: i16 = 5;
/// First version of LeaveGroup with several members.
const SEVERAL: i16 = 3;
/// Of a client's name so much is part of its members' ids.
const NAME_IN_ID_BYTES: usize = 1024;

fn shared(text: Option<&str>) -> Option<Arc<str>> {
    text.map(Into::into)
}

impl<'q> Handle<'q> for JoinGroupRequest<'q> {
    async fn handle(self, context: &Context) -> JoinGroupResponse<'static> {
        let joined = groups::join(context.core(), self.group, asked(context, &self)).await;
        let member_id = self.member_id.to_owned();
        let name = |protocol: Option<Arc<str>>| protocol.map(|p| p.to_string().into());
        match joined {
            Ok(joined) => JoinGroupResponse {
                generation: joined.generation,
                protocol_type: name(joined.protocol_type),
                protocol_name: name(joined.protocol),
                leader: joined.leader.to_string().into(),
                skip_assignment: joined.skip_assignment,
                member_id: joined.member_id.to_string().into(),
                members: joined
                    .members
                    .into_iter()
                    .map(|m| JoinedMember {
                        member_id: m.id.to_string().into(),
                        group_instance_id: name(m.instance),
                        metadata: Vec::from(m.metadata).into(),
                    })
                    .collect(),
                ..Default::default()
            },
            Err(error) => {
                let member_id = match &error {
                    GroupError::Member(Refused::MemberIdRequired(id)) => id.to_string(),
                    GroupError::Member(Refused::Full) => String::new(),
                    _ => member_id,
                };
                let protocol_name = (context.version() < NO_PROTOCOL).then(|| "".into());
                let error = code_of_group(&error);
                JoinGroupResponse { error, member_id: member_id.into(), protocol_name, ..Default::default() }
            }
        }
    }
}

/// What a JoinGroup asks of the coordinator.
fn asked(context: &Context, request: &JoinGroupRequest<'_>) -> Join {
    let client = context.client_id.as_deref().unwrap_or_default();
    let begins = request.group_instance_id.unwrap_or(client);
    let begins = begins.get(..begins.floor_char_boundary(NAME_IN_ID_BYTES)).unwrap_or_default();
    let session = u64::try_from(request.session_timeout_ms).unwrap_or(0);
    let protocols = request.protocols.iter();
    Join {
        to: 0,
        member_id: request.member_id.into(),
        new_id: format!("{begins}-{}", Uuid::new_v4()).into(),
        instance: shared(request.group_instance_id),
        client_id: client.into(),
        client_host: format!("/{}", context.connection.peer.ip()).into(),
        session,
        rebalance: u64::try_from(request.rebalance_timeout_ms).unwrap_or(session),
        protocol_type: request.protocol_type.into(),
        protocols: protocols.map(|p| (p.name.into(), Bytes::copy_from_slice(p.metadata))).collect(),
        needs_id: context.version() >= ID_FIRST,
        can_skip: context.version() >= SKIPS,
    }
}

impl<'q> Handle<'q> for SyncGroupRequest<'q> {
    async fn handle(self, context: &Context) -> SyncGroupResponse<'static> {
        let (core, request) = (context.core(), &self);
        let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if context.version() >= SAYS_PROTOCOL && !says_protocol {
            return SyncGroupResponse { error: ErrorCode::InconsistentGroupProtocol, ..Default::default() };
        }
        let parts = request.assignments.iter();
        let asked = Sync {
            to: 0,
            member_id: request.member_id.into(),
            instance: shared(request.group_instance_id),
            generation: request.generation,
            protocol_type: shared(request.protocol_type),
            protocol: shared(request.protocol_name),
            parts: parts.map(|p| (p.member_id.into(), Bytes::copy_from_slice(p.assignment))).collect(),
        };
        let name = |protocol: Option<Arc<str>>| protocol.map(|p| p.to_string().into());
        match groups::sync(core, request.group, asked).await {
            Ok(synced) => SyncGroupResponse {
                protocol_type: name(synced.protocol_type),
                protocol_name: name(synced.protocol),
                assignment: Vec::from(synced.assignment).into(),
                ..Default::default()
            },
            Err(error) => SyncGroupResponse { error: code_of_group(&error), ..Default::default() },
        }
    }
}

impl<'q> Handle<'q> for HeartbeatRequest<'q> {
    async fn handle(self, context: &Context) -> HeartbeatResponse {
        let core = context.core();
        let HeartbeatRequest { group, generation, member_id, group_instance_id } = self;
        let heard = groups::heartbeat(core, group, member_id, group_instance_id, generation).await;
        let error = heard.err().map_or(ErrorCode::None, |error| code_of_group(&error));
        HeartbeatResponse { error, ..Default::default() }
    }
}

impl<'q> Handle<'q> for LeaveGroupRequest<'q> {
    async fn handle(self, context: &Context) -> LeaveGroupResponse<'static> {
        let (core, request, version) = (context.core(), &self, context.version());
        let asked = request.leaving(version);
        let leaving = |m: &LeavingMember<'_>| Leaving {
            member_id: m.member_id.into(),
            instance: shared(m.group_instance_id),
        };
        match groups::leave(core, request.group, asked.iter().map(leaving).collect()).await {
            Err(error) => LeaveGroupResponse { error: code_of_group(&error), ..Default::default() },
            Ok(left) => {
                let code =
                    |left: &Result<(), Refused>| left.as_ref().err().map_or(ErrorCode::None, code_of_member);
                if version < SEVERAL {
                    let error = left.first().map_or(ErrorCode::None, code);
                    return LeaveGroupResponse { error, ..Default::default() };
                }
                let members = asked.iter().zip(&left).map(|(m, left)| LeftMember {
                    member_id: m.member_id.to_owned().into(),
                    group_instance_id: m.group_instance_id.map(|i| i.to_owned().into()),
                    error: code(left),
                });
                LeaveGroupResponse { members: members.collect(), ..Default::default() }
            }
        }
    }
}
