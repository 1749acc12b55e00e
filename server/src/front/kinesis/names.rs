//! Names: of shards, and the ARNs of streams and consumers.

use super::fault::Fault;

/// The name of a shard.
pub fn shard_id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

/// The shard of a name, or of its number alone, as AWS takes it.
pub fn shard_of(id: &str) -> Option<usize> {
    let digits = id.strip_prefix("shardId-").unwrap_or(id);
    if digits.is_empty() || digits.len() > 12 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The ARN of a stream.
pub fn stream_arn(region: &str, account: &str, name: &str) -> String {
    format!("arn:aws:kinesis:{region}:{account}:stream/{name}")
}

/// What an ARN names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The consumer, and the second in which it was registered.
    pub consumer: Option<(&'a str, i64)>,
}

/// Reads an ARN. Its region is not looked at: streams of all regions lie in one directory.
///
/// # Errors
/// ValidationException if it is no ARN of this service, ResourceNotFoundException if it is of another account.
pub fn parse_arn<'a>(field: &str, arn: &'a str, account: &str) -> Result<Named<'a>, Fault> {
    let wrong = || {
        let mut checks = super::check::Checks::default();
        let rule = "arn:aws.*:kinesis:.*:\\d{12}:.*stream/\\S+";
        checks.wrong(field, Some(arn), &super::check::pattern(rule));
        checks.done().err().unwrap_or_else(|| Fault::argument("no ARN"))
    };
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().ok_or_else(wrong);
    let (scheme, partition, service, _region) = (part()?, part()?, part()?, part()?);
    let (owner, resource) = (part()?, part()?);
    let named = resource.strip_prefix("stream/").ok_or_else(wrong)?;
    let digits = owner.len() == 12 && owner.bytes().all(|b| b.is_ascii_digit());
    if scheme != "arn" || !partition.starts_with("aws") || service != "kinesis" || !digits || arn.len() > 2048
    {
        return Err(wrong());
    }
    let mut path = named.splitn(3, '/');
    let (stream, kind, consumer) = (path.next().unwrap_or_default(), path.next(), path.next());
    let consumer = match (kind, consumer) {
        (None, None) => None,
        (Some("consumer"), Some(consumer)) => {
            let (name, second) = consumer.rsplit_once(':').ok_or_else(wrong)?;
            Some((name, second.parse().map_err(|_| wrong())?))
        }
        _ => return Err(wrong()),
    };
    if stream.is_empty() {
        return Err(wrong());
    }
    if owner != account {
        return Err(Fault::not_found(format!("Stream {stream} under account {owner} not found.")));
    }
    Ok(Named { stream, consumer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_names() {
        assert_eq!(shard_id(7), "shardId-000000000007");
        assert_eq!(shard_of("shardId-000000000007"), Some(7));
        for wrong in ["shardId-", "shardId-x", "shard-1", "", "shardId--00000000001", "shardId-0000000000001"]
        {
            assert_eq!(shard_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn arns_name_streams_and_consumers() {
        let parse = |arn| parse_arn("streamARN", arn, "123456789012");
        let stream = stream_arn("eu-west-1", "123456789012", "orders");
        assert_eq!(parse(&stream), Ok(Named { stream: "orders", consumer: None }));
        let consumer = format!("{stream}/consumer/app:5");
        assert_eq!(parse(&consumer), Ok(Named { stream: "orders", consumer: Some(("app", 5)) }));
        for wrong in [
            "orders",
            "arn:aws:kinesis:eu:123456789012:stream/",
            "arn:aws:sqs:eu:123456789012:stream/x",
            "arn:aws:kinesis:eu:1:stream/x",
            "arn:aws:kinesis:eu:123456789012:stream/x/other/y:1",
            "arn:aws:kinesis:eu:123456789012:stream/x/consumer/y",
        ] {
            assert_eq!(parse(wrong).unwrap_err().kind, "ValidationException", "{wrong}");
        }
        let foreign = stream_arn("eu-west-1", "210987654321", "orders");
        assert_eq!(parse(&foreign).unwrap_err().kind, "ResourceNotFoundException");
    }
}
