//! The names of batches.
//!
//! Invariant: names sort as the batches followed each other, whatever the clock did.

use pawl_policy::BatchId;

use crate::StoreError;

/// The name of a batch that begins now, after every batch that `newest` is the last of. The clock may stand before that.
pub(crate) fn next_batch_id(now_ms: u64, newest: Option<&BatchId>) -> Result<BatchId, StoreError> {
    let unnamed = |cause: String| StoreError::Unavailable(format!("cannot name a batch: {cause}"));
    let second = |text: &str| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text);
    let now = jiff::Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(i64::MAX))
        .map_err(|error| unnamed(error.to_string()))?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .datetime();
    let mut begins = now;
    if let Some(newest) = newest {
        let last = second(newest.second()).map_err(|error| unnamed(error.to_string()))?;
        let after = last.checked_add(jiff::Span::new().seconds(1));
        begins = begins.max(after.map_err(|error| unnamed(error.to_string()))?);
    }
    let mut suffix = [0; 4];
    getrandom::fill(&mut suffix).map_err(|error| unnamed(error.to_string()))?;
    let text = format!("{}-{}", begins.strftime("%Y%m%dT%H%M%SZ"), hex::encode(suffix));
    text.parse().map_err(|error: pawl_policy::InvalidBatchId| unnamed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_sort_as_they_followed_each_other_whatever_the_clock_did() {
        let november = 1_795_226_400_000;
        let first = next_batch_id(november, None).unwrap();
        assert_eq!(first.second(), "20261121T020000Z");
        let same_second = next_batch_id(november, Some(&first)).unwrap();
        let clock_set_back = next_batch_id(0, Some(&same_second)).unwrap();
        assert!(first < same_second && same_second < clock_set_back);
        assert_eq!(clock_set_back.second(), "20261121T020002Z");
        assert!(next_batch_id(u64::MAX, None).is_err());
    }
}
