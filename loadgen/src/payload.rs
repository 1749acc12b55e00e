//! What values hold behind their stamp: noise, text that compresses, or documents such as programs send.
//!
//! Values are made before the load begins; they cost nothing while it runs. The same seed makes the same values.

use std::io::{Cursor, Write};

use clap::ValueEnum;

use crate::keys::Rng;

/// What compresses well.
const FILLER: &[u8] = b"the same few words again, ";

/// What the values of a load hold.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum Payload {
    /// Random bytes, and as much of one short text as `--compressibility` says.
    Noise,
    /// JSON documents: orders with names, times, prices and identifiers. Codecs make them about a third as long.
    Events,
}

/// Fills values, one after another.
#[derive(Debug)]
pub struct Filler {
    payload: Payload,
    compressibility: f64,
    rng: Rng,
}

impl Filler {
    /// `compressibility` is the part of noise that is text instead, 0 to 1.
    pub fn new(payload: Payload, compressibility: f64, seed: u64) -> Self {
        Self { payload, compressibility, rng: Rng::new(seed) }
    }

    pub fn fill(&mut self, value: &mut [u8]) {
        match self.payload {
            Payload::Noise => {
                let noise = ((1.0 - self.compressibility) * value.len() as f64).round() as usize;
                let (noise, text) = value.split_at_mut(noise.min(value.len()));
                self.rng.fill(noise);
                text.iter_mut().zip(FILLER.iter().cycle()).for_each(|(byte, filler)| *byte = *filler);
            }
            Payload::Events => self.orders(value),
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    /// Orders, one a line, until the value is full; the last one is cut off.
    fn orders(&mut self, value: &mut [u8]) {
        let mut out = Cursor::new(value);
        while self.order(&mut out).is_ok() {}
    }

    /// Appends an order; the error is that there is no room for all of it.
    fn order(&mut self, out: &mut Cursor<&mut [u8]>) -> std::io::Result<()> {
        const CITIES: [&str; 8] =
            ["Aarhus", "Bologna", "Cork", "Dresden", "Eindhoven", "Ghent", "Lyon", "Porto"];
        const STATES: [&str; 5] = ["created", "paid", "packed", "shipped", "returned"];
        const GOODS: [&str; 10] = [
            "desk lamp",
            "notebook",
            "tea kettle",
            "bicycle bell",
            "rain coat",
            "wool socks",
            "garden hose",
            "wall clock",
            "bread knife",
            "suitcase",
        ];
        let (order, customer) = (self.rng.next_u64(), self.below(1_000_000));
        let at = 1_700_000_000_000 + self.below(100_000_000_000);
        let (state, city) = (self.word(&STATES), self.word(&CITIES));
        write!(
            out,
            "{{\"order_id\":\"{order:016x}\",\"customer\":{customer},\"state\":\"{state}\",\"at_ms\":{at},\
             \"address\":{{\"city\":\"{city}\",\"postcode\":\"{:05}\"}},\"items\":[",
            self.below(100_000)
        )?;
        for item in 0..1 + self.below(5) {
            let comma = if item == 0 { "" } else { "," };
            let (article, name) = (self.below(100_000_000), self.word(&GOODS));
            let (count, cents) = (1 + self.below(4), self.below(20_000));
            write!(
                out,
                "{comma}{{\"article\":\"{article:08}\",\"name\":\"{name}\",\"count\":{count},\"price\":{}.{:02}}}",
                cents / 100,
                cents % 100
            )?;
        }
        writeln!(out, "],\"gift\":{}}}", self.below(10) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keylane_engine::records;

    fn values(payload: Payload, compressibility: f64) -> Vec<u8> {
        let mut filler = Filler::new(payload, compressibility, 7);
        let mut all = vec![0; 64 * 1000];
        all.chunks_mut(1000).for_each(|value| filler.fill(value));
        all
    }

    /// How many times as long values are as what a codec makes of them.
    fn ratio(payload: Payload, compressibility: f64) -> f64 {
        let plain = values(payload, compressibility);
        let mut packed = Vec::new();
        records::compress(1, &plain, &mut packed).expect("gzip compresses it");
        plain.len() as f64 / packed.len() as f64
    }

    #[test]
    fn events_compress_as_documents_do_and_noise_does_not() {
        let events = ratio(Payload::Events, 0.0);
        assert!((2.5..6.0).contains(&events), "{events}");
        assert!(ratio(Payload::Noise, 0.0) < 1.01);
        assert!((1.8..2.2).contains(&ratio(Payload::Noise, 0.5)));
    }

    #[test]
    fn events_fill_a_value_with_text_to_its_last_byte() {
        let all = values(Payload::Events, 0.0);
        let text = std::str::from_utf8(&all).expect("ASCII");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(text.contains("\"state\":\"shipped\"") && text.contains("\"price\":"));
        assert_eq!(all, values(Payload::Events, 0.0), "the same seed makes the same values");
    }
}
