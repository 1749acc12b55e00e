//! A connection over a pipe in memory: no socket, no io_uring, no disk.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::config::ServerConfig;
use crate::core::Cluster;
use crate::runtime::mesh::{self, Mesh};

use super::*;

/// A core without shards.
fn core() -> Rc<Core> {
    let (mut parts, _stopper) = mesh::build(1).unwrap();
    let cluster = Cluster { id: "a".repeat(22), cores: 1, shards: 0 };
    let mesh = Mesh::new(parts.remove(0), 0);
    Rc::new(Core::new(0, Arc::new(ServerConfig::default()), cluster, Vec::new(), mesh, None))
}

/// Serves a connection while `client` has the other end of the pipe, which holds few bytes.
fn with_client<F: Future<Output = ()>>(client: impl FnOnce(DuplexStream, Rc<Core>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let (ours, theirs) = duplex(16);
        let (core, at) = (core(), SocketAddr::from(([127, 0, 0, 1], 9092)));
        let serving = tokio::task::spawn_local(serve(Rc::clone(&core), Stream::over(ours), at, at));
        client(theirs, Rc::clone(&core)).await;
        serving.await.unwrap();
        assert!(core.connections.borrow().is_empty());
    }));
}

/// A request without a body: API, version, correlation id, no client id.
fn request(api: i16, version: i16, id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    for part in [&api.to_be_bytes()[..], &version.to_be_bytes(), &id.to_be_bytes(), &[0xff, 0xff], body] {
        frame.extend_from_slice(part);
    }
    [&(frame.len() as i32).to_be_bytes()[..], &frame].concat()
}

async fn response(client: &mut DuplexStream) -> Vec<u8> {
    let length = client.read_i32().await.unwrap();
    let mut frame = vec![0; length as usize];
    client.read_exact(&mut frame).await.unwrap();
    frame
}

const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

#[test]
fn requests_over_a_pipe_are_answered_in_order() {
    with_client(|mut client, _| async move {
        // Metadata of no topic, and what is served; in pieces, as a network may bring them.
        let asked = [request(METADATA, 1, 1, &[0; 4]), request(API_VERSIONS, 0, 2, &[])].concat();
        for byte in asked {
            client.write_u8(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        let metadata = response(&mut client).await;
        assert_eq!(metadata[..4], [0, 0, 0, 1]);
        assert!(metadata.windows(9).any(|part| part == b"127.0.0.1"), "where the client connected to");
        // The pipe holds less than this answer.
        let served = response(&mut client).await;
        assert_eq!(served[..6], [0, 0, 0, 2, 0, 0]);
        assert!(served.len() > 100);
    });
}

#[test]
fn what_makes_no_sense_closes_the_pipe_after_the_answers_before_it() {
    with_client(|mut client, _| async move {
        client.write_all(&request(API_VERSIONS, 0, 5, &[])[..]).await.unwrap();
        client.write_all(b"\xff\xff\xff\xffno length").await.unwrap();
        assert_eq!(response(&mut client).await[..4], [0, 0, 0, 5]);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed");
    });
}

#[test]
fn a_server_that_stops_ends_a_quiet_connection() {
    use crate::runtime::mesh::Host as _;
    with_client(|mut client, core| async move {
        client.write_all(&request(API_VERSIONS, 0, 5, &[])[..]).await.unwrap();
        assert_eq!(response(&mut client).await[..4], [0, 0, 0, 5]);
        core.begin_stop();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed");
    });
}

#[test]
fn the_longest_wait_asked_of_a_client_is_in_its_answer() {
    use crate::front::kafka::context::Context;
    use keylane_kafka::messages::heartbeat::HeartbeatResponse;
    use keylane_kafka::{ApiKey, RequestHeader};
    use std::time::Duration;

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let at = SocketAddr::from(([127, 0, 0, 1], 9092));
        let connection = Rc::new(Connection::new(core(), Stream::over(duplex(16).0), at, at));
        let header =
            RequestHeader { api: ApiKey::Heartbeat, version: 1, correlation_id: 7, client_id: Some("me") };
        let context = Context::new(&connection, &header);
        for ms in [200, 1_500, 3] {
            context.throttle(Duration::from_millis(ms));
        }
        let answer = context.respond(HeartbeatResponse::default()).unwrap();
        // Length, number of the request, throttle_time_ms, error.
        assert_eq!(answer.slices.concat(), [0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0x05, 0xdc, 0, 0]);
        assert_eq!(context.client_id.as_deref(), Some("me"));
        assert_eq!(connection.to_string(), "127.0.0.1:9092 (User:ANONYMOUS, client id \"me\")");
    });
}
