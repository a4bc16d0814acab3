//! Keys of records: parts one after the other, so that rows sort by the first part, then the second, and so on.

/// A key under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A text: its bytes, then an end mark; a NUL inside is escaped, so that no text is the start of another.
    #[must_use]
    pub(crate) fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend([0, 0]);
        self
    }

    /// A number, which sorts by its value.
    #[must_use]
    pub(crate) fn int(mut self, n: i64) -> Self {
        self.0.extend((n.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        self
    }

    /// A number, which sorts by its value; NaN comes last.
    #[must_use]
    pub(crate) fn float(self, n: f64) -> Self {
        let bits = n.to_bits().cast_signed();
        // IEEE 754's total order: flip the digits of negative numbers.
        self.int(bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_parts_do() {
        let of = |t: &str, n: i64, f: f64| Key::new().text(t).int(n).float(f);
        let sorted = [
            of("a", -5, 0.0),
            of("a", 3, f64::NEG_INFINITY),
            of("a", 3, -1.5),
            of("a", 3, 0.0),
            of("a", 3, 1e-9),
            of("a", 3, f64::INFINITY),
            of("a", 3, f64::NAN),
            of("a\0b", 0, 0.0),
            of("ab", 0, 0.0),
            of("b", i64::MIN, 0.0),
        ];
        for pair in sorted.windows(2) {
            assert!(pair[0].bytes() < pair[1].bytes(), "{pair:?}");
        }
        assert!(
            !of("ab", 0, 0.0)
                .bytes()
                .starts_with(Key::new().text("a").bytes())
        );
    }
}
