# Claude Code without a terminal: its whole prompt with all its tools goes to a model that knows nothing and never ends.
set -eu
HOME=$(mktemp -d)
export HOME
unset ANTHROPIC_API_KEY
export ANTHROPIC_BASE_URL=$HELEXA_URL ANTHROPIC_AUTH_TOKEN=$HELEXA_KEY ANTHROPIC_MODEL=$HELEXA_MODEL
export ANTHROPIC_DEFAULT_OPUS_MODEL=$HELEXA_MODEL ANTHROPIC_DEFAULT_SONNET_MODEL=$HELEXA_MODEL
export ANTHROPIC_DEFAULT_HAIKU_MODEL=$HELEXA_MODEL CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
export CLAUDE_CODE_MAX_OUTPUT_TOKENS=60
claude="$PWD/node_modules/@anthropic-ai/claude-code/bin/claude.exe"
[ -x "$claude" ] || claude=$(ls "$PWD"/node_modules/@anthropic-ai/claude-code-*/claude)
cd "$HOME"
"$claude" -p hello --output-format json --max-turns 1 > told || true
node -e '
const told = JSON.parse(require("fs").readFileSync("told", "utf8").trim().split("\n").pop());
const used = told.modelUsage[process.env.HELEXA_MODEL];
if (!used || !used.outputTokens) throw new Error(JSON.stringify(told));
if (told.is_error && !/output token maximum/.test(told.result)) throw new Error(told.result);
console.log(`claude -p: a prompt of ${used.inputTokens + used.cacheReadInputTokens} tokens in all, ${used.outputTokens} answered`);
'
