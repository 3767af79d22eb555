# Each recipe is a thin call of the launcher: ./hashpool --help tells more.

# what there is
default:
    @just --list --unsorted

# run the whole regtest system (up sv1: at an SV1 pool; up backtrace: with full tracebacks)
up mode="":
    ./hashpool up {{ if mode == "" { "" } else if mode == "sv1" { "--profile sv1" } else { "--" + mode } }}

# run the tests
test *arguments:
    ./hashpool test {{ arguments }}

# formatting, lint, types, import contracts
lint:
    ./hashpool lint

# run one benchmark (bench --help: which there are)
bench name *arguments:
    ./hashpool bench {{ name }} {{ arguments }}

# look into a store, read-only: wallet, mint or pool
db store *sql:
    ./hashpool db {{ store }} {{ if sql == "" { "" } else { quote(sql) } }}

# throw away state: cashu, regtest, testnet4 or logs
clean part *arguments:
    ./hashpool clean {{ part }} {{ arguments }}

# have the regtest node make blocks
generate-blocks count="1":
    ./hashpool generate-blocks {{ count }}

# what the wallet holds
balance:
    ./hashpool wallet balance

# set what one ehash is worth: 2^bits hashes
set-min-diff bits:
    ./hashpool set-min-diff {{ bits }}

# check every configuration file (check config/prod: of production)
check tree="config":
    ./hashpool check {{ tree }}
