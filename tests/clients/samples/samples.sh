#!/usr/bin/env bash
# The vendors' documented calls with curl. BASE is where the vendor's host was, KEY where its API key was.
#
# Prints one line for each vendor: its name, and what its bot said.
set -euo pipefail
member() { sed -E "s/.*\"$1\":\"?([^\",}]*).*/\1/"; }
# For vendors whose answer has no place for it, the token is in a header: this one line is added to their samples.
token() { sed -nE 's/^keystile-token: ([^\r]*).*/\1/Ip'; }
headers="$(mktemp)"
trap 'rm -f "$headers"' EXIT

# ChatBotKit
session="$(curl -sS --fail-with-body -X POST "$BASE/api/v1/bot/chatbotkit/session/create" \
    -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d '{"durationInSeconds":1800}')"
printf 'chatbotkit %s\n' "$(curl -sS --fail-with-body -X POST "$BASE/api/v1/conversation/$(member conversationId <<<"$session")/complete" \
    -H "Authorization: Bearer $(member token <<<"$session")" -H 'Content-Type: application/json' -d '{"text":"Hello?"}')"

# Superseek
id="$(curl -sS --fail-with-body "$BASE/session-id?bot_id=1234&api_key=$KEY")"
printf 'superseek %s\n' "$(curl -sS --fail-with-body -X POST "$BASE/chat" -H 'Content-Type: application/json' \
    -d "{\"api_key\":\"$KEY\",\"bot_id\":1234,\"question\":\"Hello?\",\"session_id\":\"$id\"}")"

# AI Chatbot Hub
session="$(curl -sS --fail-with-body -D "$headers" -X POST -H "Authorization: Bearer $KEY" \
    "$BASE/api/v1/chatbot/3f0b5a1e-6a52-4a53-9d6c-0f7d9a4c2b11/session/create")"
printf 'aichatbothub %s\n' "$(curl -sSN --fail-with-body -X POST "$BASE/api/v1/session/$(member uuid <<<"$session")/message/stream" \
    -H "Authorization: Bearer $(token <"$headers")" -H 'Content-Type: application/json' -d '{"query":"Hello?"}')"

# HotTask
session="$(curl -sS --fail-with-body -D "$headers" -X POST "$BASE/chat/Chatbot/GetSession" \
    -H "Authorization: $KEY" -H 'Content-Type: application/json' -d '{"serialNumber":"SN-2024-0001"}')"
printf 'hottask %s\n' "$(curl -sS --fail-with-body -X POST "$BASE/chat/Chat/ClientAsk" \
    -H "Authorization: $(token <"$headers")" -H 'Content-Type: application/json' \
    -d "{\"sessionID\":$(member SessionID <<<"$session"),\"content\":\"Hello?\"}")"

# Genesys Knowledge Center
session="$(curl -sS --fail-with-body -D "$headers" -X PUT "$BASE/sessions/new?tenantId=demo" \
    -H "X-Knowledge-Key: $KEY" -H 'Content-Type: application/json' -d '{"visitId":"v-curl","globalVisitId":"g-curl"}')"
printf 'genesys %s\n' "$(curl -sS --fail-with-body "$BASE/sessions/$(member sessionId <<<"$session")?tenantId=demo" \
    -H "X-Knowledge-Key: $(token <"$headers")")"

# OpenAI: the page's call, with a session token as its key.
session="$(curl -sS --fail-with-body -X POST "$BASE/v1/bots/openai/sessions" -H "Authorization: Bearer $KEY")"
printf 'openai %s\n' "$(curl -sS --fail-with-body "$BASE/v1/chat/completions" \
    -H "Authorization: Bearer $(member token <<<"$session")" -H 'Content-Type: application/json' \
    -d '{"model":"any","messages":[{"role":"user","content":"Hello?"}]}')"

# Azure Direct Line, with a file, and polling: from the start, and then from the watermark on.
root="$BASE/v3/directline"
session="$(curl -sS --fail-with-body -X POST "$root/tokens/generate" -H "Authorization: Bearer $KEY" -d '')"
authorization="Authorization: Bearer $(member token <<<"$session")"
activities="$root/conversations/$(member conversationId <<<"$session")/activities"
curl -sS --fail-with-body -X POST "$root/conversations" -H "$authorization" -d '' >"$headers"
curl -sS --fail-with-body -X POST "$activities" -H "$authorization" -H 'Content-Type: application/json' \
    -d '{"type":"message","from":{"id":"dl_curl"},"text":"Hello?"}' >"$headers"
curl -sS --fail-with-body -X POST "${activities%/activities}/upload?userId=dl_curl" -H "$authorization" \
    -F 'file=a note;filename=note.txt;type=text/plain' >"$headers"
told="$(curl -sS --fail-with-body "$activities" -H "$authorization")"
printf 'directline %s\n' "$told"
printf 'directline-rest %s\n' "$(curl -sS --fail-with-body "$activities?watermark=$(member watermark <<<"$told")" -H "$authorization")"
