//! Fetch: durable batches as they are stored, with a long poll.
//!
//! A fetch is answered when it has `min_bytes`, when it has something and the disk has more, when a partition that exists has
//! an error, or when `max_wait_ms` is over (`service::read` is how it gets records). One fetch per connection is worked on
//! at a time. What is read is what the request names, or what a session remembers (KIP-227, `sessions`).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::shard::Batches;
use keylane_kafka::hot::fetch::FetchResponseWriter;
use keylane_kafka::messages::fetch::{FetchPartition, FetchRequest, FetchedPartition};
use keylane_kafka::{ErrorCode, Message, Reader, TopicRef};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::core::{Core, FETCH_BYTES, MEMORY_UNIT};
use crate::front::kafka::close::CloseReason;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{code_of_read, key_of};
use crate::front::kafka::out::Answer;
use crate::front::kafka::sessions::cache::{Sessions, home};
use crate::front::kafka::sessions::session::Session;
use crate::runtime::mesh::call;
use crate::service::error::ReadRefused;
use crate::service::read::{Found, Wanted, read_all, wait_for_more};

/// Largest answer, unless a single batch is larger; clients ask again at once.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// An answer takes at most this part of what each connection could have. Answers that were begun while there
/// were fewer connections are larger: with n connections all of them together take ln(n) / 8 of the memory.
const SLOW_SHARE: usize = 8;
/// Epoch with which a client names all partitions that it wants, to open a session.
const OPENS_SESSION: i32 = 0;
/// Epoch with which a client names all partitions that it wants, without a session.
const WITHOUT_SESSION: i32 = -1;
/// When more than one byte is wanted, what is there is looked at again after this at the earliest.
const GATHER: Duration = Duration::from_millis(2);

/// Answers a Fetch request. The next request waits until the fetch before this one is answered.
pub async fn in_turn(context: Rc<Context>, frame: Bytes, body: usize) -> Result<Option<Answer>, CloseReason> {
    let request = FetchRequest::decode(context.version(), &mut Reader::at(&frame, body))?;
    let turn = context.connection.fetches.take().await;
    context.let_next_come();
    let answer = answer(&context, &request).await?;
    Ok(Some(Answer { turn: Some(turn), ..answer }))
}

/// Bytes of one answer, so that even if every client of this core is slow to take its own, there is memory
/// left for the next one.
fn answer_bytes_max(core: &Core) -> usize {
    let share = FETCH_BYTES / SLOW_SHARE / core.connections.borrow().len().max(1);
    share.clamp(MEMORY_UNIT, ANSWER_BYTES_MAX)
}

/// Whose partitions a fetch reads.
enum Source {
    /// Those that the request names.
    Request,
    /// Those of a session, which is lent out for this request.
    Session {
        id: i32,
        session: Session,
        /// It begins with this request.
        is_new: bool,
    },
}

/// Finds out whose partitions are read; a session is brought up to date with the request.
async fn source(context: &Context, request: &FetchRequest<'_>) -> Result<Source, ErrorCode> {
    let (core, now) = (context.core(), Instant::now());
    let (id, epoch) = (request.session_id, request.session_epoch);
    let by_id = context.version() >= TopicRef::IDS_FROM;
    if [OPENS_SESSION, WITHOUT_SESSION].contains(&epoch) {
        // An id here is that of a session which the client is done with.
        if id != 0 {
            at_home(core, id, move |sessions| sessions.close(id)).await;
        }
        if epoch == WITHOUT_SESSION || !core.fetch_sessions.borrow().could_hold(None, request) {
            return Ok(Source::Request);
        }
        let session = Session::new(request);
        let opened = core.fetch_sessions.borrow_mut().open(&session, by_id, now);
        return Ok(opened.map_or(Source::Request, |id| Source::Session { id, session, is_new: true }));
    }
    let lent = at_home(core, id, move |sessions| sessions.lend(id, epoch, by_id, now)).await;
    let mut session = lent.unwrap_or(Err(ErrorCode::FetchSessionIdNotFound))?;
    let fits = core.fetch_sessions.borrow().could_hold(Some(&session), request);
    if fits {
        session.update(request);
    }
    if !fits || session.len() == 0 {
        at_home(core, id, move |sessions| sessions.close(id)).await;
        return if fits { Ok(Source::Request) } else { Err(ErrorCode::FetchSessionIdNotFound) };
    }
    Ok(Source::Session { id, session, is_new: false })
}

/// Asks the core that a session belongs to. `None`: the server is stopping.
async fn at_home<T: Send + 'static>(
    core: &Rc<Core>,
    id: i32,
    work: impl FnOnce(&mut Sessions) -> T + Send + 'static,
) -> Option<T> {
    let to = home(id, core.cluster.cores);
    call(core, to, move |core| async move { work(&mut core.fetch_sessions.borrow_mut()) }).await
}

async fn answer(context: &Context, request: &FetchRequest<'_>) -> Result<Answer, CloseReason> {
    match source(context, request).await {
        Err(error) => {
            let writer = FetchResponseWriter::begin(context.header, context.throttle_ms(), error, 0, 0);
            Ok(Answer { slices: writer.finish()?, ..Answer::default() })
        }
        Ok(Source::Request) => {
            let named = || request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.topic, *p)));
            let (found, held) = read(context, request, named()).await;
            let told =
                named().zip(found).map(|((topic, partition), found)| (topic, Told::new(partition, found)));
            respond(context, 0, told.collect(), held)
        }
        Ok(Source::Session { id, mut session, is_new }) => {
            let (found, held) = read(context, request, session.partitions()).await;
            let told = session.partitions().zip(found);
            let told: Vec<_> = told.map(|((_, partition), found)| Told::new(partition, found)).collect();
            let has_records: Vec<bool> = told.iter().map(|t| t.batches.bytes > 0).collect();
            let changed = session.tell(told.iter().map(|t| &t.head).zip(has_records.iter().copied()));
            let named = session.partitions().map(|(topic, _)| topic).zip(told).zip(changed);
            let changed = named.filter(|(_, changed)| *changed).map(|(told, _)| told).collect();
            let answer = respond(context, id, changed, held);
            // As in Kafka, the order begins to turn with the second answer.
            if !is_new {
                session.move_to_the_end(has_records.into_iter());
            }
            at_home(context.core(), id, move |sessions| sessions.give_back(id, session)).await;
            answer
        }
    }
}

/// Reads partitions, and waits as long as the request says until there is something to be told.
async fn read<'a>(
    context: &Context,
    request: &FetchRequest<'_>,
    partitions: impl Iterator<Item = (TopicRef<'a>, FetchPartition)>,
) -> (Vec<Found>, Option<OwnedSemaphorePermit>) {
    let core = context.core();
    let wanted = resolve(core, partitions);
    let most = answer_bytes_max(core);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(most);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(most);
    let deadline = context.deadline(request.max_wait_ms);
    // Of partitions that do not exist nothing is expected. A session that remembers one of them still waits for the others.
    let exists = |wanted: &Wanted| !matches!(wanted.route, Err(ReadRefused::Partition(_)));
    let any_exists = wanted.iter().any(exists);
    loop {
        let (found, held) = read_all(core, &wanted, max_bytes).await;
        let bytes: usize = found.iter().map(|f| f.batches.bytes).sum();
        let failed = found.iter().zip(&wanted).any(|(f, wanted)| f.error.is_some() && exists(wanted));
        let more = found.iter().any(|f| f.more);
        if bytes >= min_bytes
            || !any_exists
            || more
            || failed
            || Instant::now() >= deadline
            || core.stopping.get()
        {
            return (found, held);
        }
        drop(held);
        wait_for_more(core, &wanted, &found, deadline).await;
        if min_bytes > 1 {
            tokio::time::sleep_until(deadline.min(Instant::now() + GATHER)).await;
        }
    }
}

fn resolve<'a>(core: &Core, partitions: impl Iterator<Item = (TopicRef<'a>, FetchPartition)>) -> Vec<Wanted> {
    let topics = core.topics.borrow();
    // Partitions of a topic mostly follow each other.
    let mut last = None;
    let wanted = partitions.map(|(topic, partition)| {
        let local = match last {
            Some((same, local)) if same == topic => local,
            _ => topics.find(key_of(topic)),
        };
        last = Some((topic, local));
        let route = local.and_then(|local| local.route(partition.index));
        Wanted {
            route: route.map_err(Into::into).and_then(|r| check(&partition).map(|()| r)),
            offset: u64::try_from(partition.fetch_offset).unwrap_or(u64::MAX),
            bytes_max: usize::try_from(partition.max_bytes).unwrap_or(0),
        }
    });
    wanted.collect()
}

fn check(partition: &FetchPartition) -> Result<(), ReadRefused> {
    // The only leader epoch there ever was is 0 (KIP-320).
    if partition.current_leader_epoch > 0 { Err(ReadRefused::LaterLeader) } else { Ok(()) }
}

/// What is told of a partition.
struct Told {
    head: FetchedPartition<'static>,
    batches: Batches,
    from_disk: bool,
}

impl Told {
    fn new(partition: FetchPartition, found: Found) -> Self {
        let index = partition.index;
        let (high_watermark, log_start_offset) = (found.high_watermark as i64, found.log_start as i64);
        let head = match found.error.map(code_of_read) {
            Some(error @ ErrorCode::OffsetOutOfRange) => FetchedPartition {
                log_start_offset,
                high_watermark,
                ..FetchedPartition::failed(index, error)
            },
            Some(error) => FetchedPartition::failed(index, error),
            None => FetchedPartition {
                index,
                error: ErrorCode::None,
                high_watermark,
                last_stable_offset: high_watermark,
                log_start_offset,
                ..FetchedPartition::default()
            },
        };
        Self { head, batches: found.batches, from_disk: found.from_disk }
    }
}

fn respond(
    context: &Context,
    session_id: i32,
    mut told: Vec<(TopicRef<'_>, Told)>,
    held: Option<OwnedSemaphorePermit>,
) -> Result<Answer, CloseReason> {
    let unhurried = told.iter().any(|(_, told)| told.from_disk);
    let topics = told.chunk_by(|a, b| a.0 == b.0).count();
    let (throttle, none) = (context.throttle_ms(), ErrorCode::None);
    let mut writer = FetchResponseWriter::begin(context.header, throttle, none, session_id, topics);
    for partitions in told.chunk_by_mut(|a, b| a.0 == b.0) {
        writer.topic(partitions[0].0, partitions.len());
        for (_, told) in partitions {
            writer.partition(&told.head, std::mem::take(&mut told.batches.slices));
        }
    }
    Ok(Answer { slices: writer.finish()?, held, turn: None, unhurried })
}
