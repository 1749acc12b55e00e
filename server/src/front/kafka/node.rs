//! The only node of the cluster, as clients see it.

use crate::config::split_host_port;

use super::connection::Connection;

/// The only node's id.
pub const NODE_ID: i32 = 0;

/// Where this client reaches the server.
pub fn address(connection: &Connection) -> (String, i32) {
    let advertised = connection.core.config.advertise.as_deref().and_then(split_host_port);
    match advertised {
        Some((host, port)) => (host.to_owned(), i32::from(port)),
        None => (connection.local.ip().to_string(), i32::from(connection.local.port())),
    }
}
