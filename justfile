# What is done often. `just` alone lists it.

_:
    @just --list

# All that must hold before a change is handed on: what the continuous integration runs.
check:
    tests/run

# The tests alone; the arguments are those of `cargo test`.
test *arguments:
    cargo test --locked {{arguments}}

# The gateway in front of a simulated vendor, with a page to try it in.
demo *arguments:
    cargo run --release --locked -- demo {{arguments}}

# What a call costs beside HAProxy, nginx and no proxy; the arguments are those of bench/run.
bench *arguments:
    bench/run {{arguments}}

# Format the tree.
fmt:
    cargo fmt

# Licences, banned crates, duplicates, advisories (needs cargo-deny).
deny:
    cargo deny --locked check

# Fuzz one target (see fuzz/README.md; needs cargo-fuzz and a C++ compiler).
fuzz target seconds="60":
    mkdir -p fuzz/target/corpus/{{target}}
    cargo fuzz run -s none {{target}} fuzz/target/corpus/{{target}} fuzz/corpus/{{target}} -- \
        -dict=fuzz/dictionaries/{{target}}.dict -max_len=8192 -timeout=5 -max_total_time={{seconds}}
