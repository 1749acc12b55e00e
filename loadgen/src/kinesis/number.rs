//! Sequence numbers, which are compared as numbers and have more digits than any integer of this language.

/// Digits of the lower part.
const LOW_DIGITS: usize = 38;

/// A number of up to 76 digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    high: u128,
    low: u128,
}

impl Number {
    /// `None`: it is no number, or too long.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (high, low) = text.split_at(text.len().saturating_sub(LOW_DIGITS));
        let high = if high.is_empty() { 0 } else { high.parse().ok()? };
        Some(Self { high, low: low.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let number = |text: &str| Number::parse(text).unwrap();
        assert!(number("9") < number("10"));
        let long = "49590338271490256608559692538361571095921575989136588898";
        assert!(number(&long[1..]) < number(long) && number(long) == number(&format!("0{long}")));
        let next = "49590338271490256608559692538361571095921575989136588899";
        assert!(number(long) < number(next) && number(next) < number(&format!("{long}0")));
        for wrong in ["", "-1", "12a", " 1", &"9".repeat(200)] {
            assert_eq!(Number::parse(wrong), None, "{wrong}");
        }
    }
}
