//! Names that nothing else has: temporary files, stored outputs, markers of calls.

/// A random name.
pub(crate) fn unique() -> std::io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}
