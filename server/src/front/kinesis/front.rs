//! A request over HTTP and its answer.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use crate::core::Core;
use crate::front::http::{self, Body, BodyError};
use crate::runtime::clock::now_ms;

use super::answer::{Answer, Outcome};
use super::context::Context;
use super::event;
use super::fault::Fault;
use super::format::Format;
use super::signature;
use super::table;
use super::token::Tokens;

/// Largest body: 10 MiB of records in base64, and their keys.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Changes of streams at once on a core; others wait. They go on without their client, so their number is bounded here.
const CHANGES_MAX: usize = 32;
/// What stands in front of the name of an operation.
const TARGET: &str = "Kinesis_20131202.";
/// The region of credentials that name none.
const REGION: &str = "us-east-1";

/// The front of one core.
pub struct Front {
    core: Rc<Core>,
    tokens: Rc<Tokens>,
    changes: Arc<Semaphore>,
}

impl Front {
    /// The front of a core.
    pub fn new(core: Rc<Core>) -> Self {
        let tokens = Rc::new(Tokens::new(&core.cluster.id));
        Self { core, tokens, changes: Arc::new(Semaphore::new(CHANGES_MAX)) }
    }

    async fn outcome(&self, format: Format, request: Request<Incoming>) -> Outcome {
        let target = request.headers().get("x-amz-target").and_then(|v| v.to_str().ok());
        let Some(operation) = target.and_then(|t| t.strip_prefix(TARGET)).map(str::to_owned) else {
            return Err(Fault::unknown_operation("X-Amz-Target names no operation of Kinesis_20131202"));
        };
        if !table::is_known(&operation) {
            return Err(Fault::unknown_operation(format!("there is no operation {operation}")));
        }
        let region = region_of(&request)?;
        let (parts, body) = request.into_parts();
        let body = http::collect(&self.core, body, BODY_BYTES_MAX).await.map_err(|e| match e {
            BodyError::TooLarge(_) => Fault::too_large(e.to_string()),
            other => Fault::serialization(other.to_string()),
        })?;
        if let Some(keys) = &self.core.config.kinesis_keys {
            signature::check(keys, &parts, &body.bytes, now_ms())?;
        }
        let (core, tokens) = (Rc::clone(&self.core), Rc::clone(&self.tokens));
        let context = Context { core, tokens, format, region };
        if !table::is_change(&operation) {
            return table::dispatch(&context, &operation, &body.bytes).await;
        }
        let stopping = || Fault::unavailable("the server is stopping");
        let turn = Arc::clone(&self.changes).acquire_owned().await.map_err(|_| stopping())?;
        let change = async move {
            let _turn = turn;
            table::dispatch(&context, &operation, &body.bytes).await
        };
        tokio::task::spawn_local(change).await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// The region that the credentials of a request name.
fn region_of(request: &Request<Incoming>) -> Result<String, Fault> {
    let Some(given) = request.headers().get(AUTHORIZATION) else {
        return Err(Fault::no_credentials("Missing Authentication Token"));
    };
    let scope = given.to_str().ok().and_then(|text| text.split("Credential=").nth(1));
    let region = scope.and_then(|scope| scope.split(['/', ',']).nth(2)).filter(|region| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=64).contains(&region.len()) && region.bytes().all(plain)
    });
    Ok(region.unwrap_or(REGION).to_owned())
}

impl http::Service for Front {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Body> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let format = content_type.and_then(Format::of);
        if request.method() != Method::POST || request.uri().path() != "/" {
            let fault = Fault::unknown_operation("requests are sent with POST to /");
            return response(Format::Json, Err(Fault { status: StatusCode::NOT_FOUND, ..fault }));
        }
        let Some(format) = format else {
            let fault = Fault::unknown_operation(
                "the content type is application/x-amz-json-1.1 or application/x-amz-cbor-1.1",
            );
            return response(Format::Json, Err(Fault { status: StatusCode::NOT_FOUND, ..fault }));
        };
        let outcome = self.outcome(format, request).await;
        response(format, outcome)
    }
}

fn response(format: Format, outcome: Outcome) -> Response<Body> {
    let (status, body, content_type) = match outcome {
        Ok(Answer::Body(bytes)) => (StatusCode::OK, Body::whole(bytes), format.content_type()),
        Ok(Answer::Empty) => (StatusCode::OK, Body::whole(Bytes::new()), format.content_type()),
        Ok(Answer::Events(body)) => (StatusCode::OK, body, event::CONTENT_TYPE),
        Err(fault) => {
            let mut out = Vec::new();
            format.encode(&fault, &mut out);
            (fault.status, Body::whole(out.into()), format.content_type())
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let id = uuid::Uuid::new_v4().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
