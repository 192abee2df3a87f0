//! Gives inputs to the target that `PAWL_FUZZ_TARGET` names, led by coverage; arguments are libFuzzer's.

#![no_main]

use std::sync::LazyLock;

use pawl_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var_os("PAWL_FUZZ_TARGET").unwrap_or_default();
    pawl_fuzz::named(&name.to_string_lossy()).unwrap_or_else(|| {
        eprintln!("expected PAWL_FUZZ_TARGET to name a target, found '{}': see scripts/fuzz", name.display());
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
