//! Signatures of requests, version 4, for servers that are told to check them.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use hmac::{Hmac, Mac};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::config::Keys;

use super::fault::Fault;

/// The scheme that clients name.
const SCHEME: &str = "AWS4-HMAC-SHA256";
/// How far the clock of a client may be from the server's, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;
/// Headers that a signature must cover, beside the host.
const COVERED: [&str; 2] = ["x-amz-date", "x-amz-target"];
/// The host, as clients of HTTP/2 may sign it.
const AUTHORITY: &str = ":authority";

/// What a request says of its signature.
struct Given<'a> {
    key: &'a str,
    /// Date, region, service and the end of the scope.
    scope: [&'a str; 4],
    headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Given<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix(SCHEME)?;
        let field = |name: &str| {
            let mut all = fields.split(',').map(str::trim);
            all.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        let mut credential = field("Credential")?.split('/');
        let key = credential.next()?;
        let scope = [credential.next()?, credential.next()?, credential.next()?, credential.next()?];
        let headers: Vec<&str> = field("SignedHeaders")?.split(';').collect();
        let whole = credential.next().is_none() && scope[3] == "aws4_request";
        whole.then_some(Self { key, scope, headers, signature: field("Signature")? })
    }
}

/// Checks the signature of a request.
///
/// # Errors
/// IncompleteSignatureException, UnrecognizedClientException, InvalidSignatureException.
pub fn check(keys: &Keys, parts: &Parts, body: &[u8], now_ms: i64) -> Result<(), Fault> {
    let text = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let incomplete = |what: &str| Fault::incomplete_signature(format!("{what} (Authorization={text})"));
    let given = Given::parse(text).ok_or_else(|| {
        incomplete("Authorization header requires Credential, SignedHeaders and Signature parameters.")
    })?;
    if !given.headers.iter().any(|name| [HOST.as_str(), AUTHORITY].contains(name)) {
        return Err(incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    if let Some(missing) = COVERED.iter().find(|name| !given.headers.contains(name)) {
        return Err(incomplete(&format!("'{missing}' must be a signed header.")));
    }
    let date = header(parts, "x-amz-date");
    let Some(signed_ms) = time_of(&date).filter(|_| date.starts_with(given.scope[0])) else {
        return Err(incomplete("X-Amz-Date and the date of the credential must be there and agree."));
    };
    if (now_ms - signed_ms).abs() > SKEW_MS {
        return Err(Fault::invalid_signature(format!(
            "Signature expired: {date} is more than 5 minutes away from the server's time"
        )));
    }
    let secret = keys
        .secret(given.key)
        .ok_or_else(|| Fault::unknown_client("The security token included in the request is invalid."))?;
    let mut request =
        format!("{}\n{}\n{}\n", parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default());
    for name in &given.headers {
        request.push_str(&format!("{name}:{}\n", header(parts, name)));
    }
    request.push_str(&format!("\n{}\n{}", given.headers.join(";"), hex(&Sha256::digest(body))));
    let scope = given.scope.join("/");
    let to_sign = format!("{SCHEME}\n{date}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    let wanted = unhex(given.signature).unwrap_or_default();
    let signed = keyed(&signing_key(secret, &given.scope), to_sign.as_bytes());
    // Compared in constant time.
    signed.verify_slice(&wanted).map_err(|_| {
        Fault::invalid_signature(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
             Key and signing method. Consult the service documentation for details.",
        )
    })
}

/// The values of a header as they are signed. Over HTTP/2 the host is the authority of the request.
fn header(parts: &Parts, name: &str) -> String {
    if name == AUTHORITY {
        return parts.uri.authority().map(ToString::to_string).unwrap_or_default();
    }
    let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let values: Vec<String> =
        values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    if values.is_empty() && name == HOST.as_str() {
        return parts.uri.authority().map(ToString::to_string).unwrap_or_default();
    }
    values.join(",")
}

fn keyed(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("a key of any length will do");
    mac.chain_update(message)
}

fn signing_key(secret: &str, scope: &[&str; 4]) -> Vec<u8> {
    let first = format!("AWS4{secret}").into_bytes();
    scope.iter().fold(first, |key, part| keyed(&key, part.as_bytes()).finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [a, b] = pair { Some(digit(*a)? << 4 | digit(*b)?) } else { None }).collect()
}

/// Milliseconds since 1970 of a time like 20150830T123600Z.
fn time_of(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' || !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().ok().map(i64::from);
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    // Years begin in March, so that the day that is sometimes there is the last one.
    let (of_year, year) = if month > 2 { (month - 3, year) } else { (month + 9, year - 1) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * of_year + 2) / 5
        + day
        - 719_469;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// The published example of version 4 signing.
    #[test]
    fn the_signing_key_is_that_of_the_published_example() {
        let key = signing_key(SECRET, &["20150830", "us-east-1", "iam", "aws4_request"]);
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn times() {
        assert_eq!(time_of("20150830T123600Z"), Some(1_440_938_160_000));
        assert_eq!(time_of("19700101T000000Z"), Some(0));
        assert_eq!(time_of("20000229T000001Z"), Some(951_782_401_000));
        for wrong in ["", "20150830", "2015-08-30T12:36Z", "20150830T1236x0Z", "\u{e9}0150830T123600Z"] {
            assert_eq!(time_of(wrong), None, "{wrong}");
        }
    }

    fn request(signature: &str, date: &str, headers: &str, key: &str) -> Parts {
        let given = format!(
            "{SCHEME} Credential={key}/20150830/us-east-1/kinesis/aws4_request, SignedHeaders={headers}, \
             Signature={signature}"
        );
        let request = Request::post("/").header("host", "h").header("x-amz-date", date);
        let request = request.header("x-amz-target", "T.O").header("authorization", given);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_was_changed_was_not_signed() {
        let keys = Keys::parse(&format!("id {SECRET}")).unwrap();
        let (date, all, now) = ("20150830T123600Z", "host;x-amz-date;x-amz-target", 1_440_938_160_000);
        let kind =
            |parts: &Parts, body: &[u8], now| check(&keys, parts, body, now).err().map(|fault| fault.kind);
        // By botocore.auth.SigV4Auth.
        let good = GOOD;
        assert_eq!(kind(&request(good, date, all, "id"), b"{}", now), None);
        assert_eq!(kind(&request(good, date, all, "id"), b"{}", now + SKEW_MS), None);
        let mismatch = Some("InvalidSignatureException");
        assert_eq!(kind(&request(good, date, all, "id"), b"{ }", now), mismatch);
        assert_eq!(kind(&request(good, date, all, "id"), b"{}", now + SKEW_MS + 1), mismatch);
        assert_eq!(kind(&request(good, "20150830T123601Z", all, "id"), b"{}", now), mismatch);
        for wrong in ["", "00", "x", &good[1..]] {
            assert_eq!(kind(&request(wrong, date, all, "id"), b"{}", now), mismatch, "{wrong}");
        }
        assert_eq!(kind(&request(good, date, all, "other"), b"{}", now), Some("UnrecognizedClientException"));
        let incomplete = Some("IncompleteSignatureException");
        assert_eq!(kind(&request(good, date, "host;x-amz-date", "id"), b"{}", now), incomplete);
        assert_eq!(kind(&request(good, "20150831T123600Z", all, "id"), b"{}", now), incomplete);
        assert_eq!(kind(&Request::post("/").body(()).unwrap().into_parts().0, b"{}", now), incomplete);
    }

    /// Found by the AWS SDK for JavaScript, whose requests were all refused: over HTTP/2 it signs `:authority` and no `host`.
    #[test]
    fn a_signature_may_cover_the_authority_in_place_of_the_host() {
        let keys = Keys::parse(&format!("id {SECRET}")).unwrap();
        let (date, now) = ("20150830T123600Z", 1_440_938_160_000);
        let parts = |host: &str, signed: &str| {
            let mut parts = request(GOOD_OVER_HTTP2, date, &format!("{signed}x-amz-date;x-amz-target"), "id");
            parts.headers.remove("host");
            parts.uri =
                hyper::Uri::builder().scheme("http").authority(host).path_and_query("/").build().unwrap();
            parts
        };
        let kind = |parts: &Parts| check(&keys, parts, b"{}", now).err().map(|fault| fault.kind);
        assert_eq!(kind(&parts("h", ":authority;")), None);
        assert_eq!(kind(&parts("other", ":authority;")), Some("InvalidSignatureException"));
        assert_eq!(kind(&parts("h", "")), Some("IncompleteSignatureException"));
    }

    const GOOD_OVER_HTTP2: &str = "9ec9c9f5cc064caa7a7b970236f1429409a72ec02897829d78dbe9cb0812b82f";
    const GOOD: &str = "4b57b65359f3edee1a867da5ddb06d409098b0667d47fbcc71c41180206d79b9";
}
