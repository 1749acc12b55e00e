pub fn first_at_or_after(_b: &[u8], _t: i64) -> Result<Option<(u64, i64)>, String> {
    Ok(None)
}
pub fn latest(_b: &[u8]) -> Result<Option<(u64, i64)>, String> {
    Ok(None)
}
