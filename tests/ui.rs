//! What does not compile, and what the compiler says then; what must compile.
//!
//! One mistake each. `TRYBUILD=overwrite` writes the expectations anew: read them as a newcomer would.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
