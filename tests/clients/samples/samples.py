"""The vendors' documented calls with requests, OpenAI's own client, and Direct Line's stream over a WebSocket.

BASE is where the vendor's host was, KEY where its API key was. Each asks also for a duration and names a contact, where
docs/vendors.md says that this can be given. Prints one JSON object: from vendor to what it said.
"""

import base64
import json
import os

import openai
import requests
import websocket

BASE, KEY = os.environ["BASE"], os.environ["KEY"]
WISH = {"durationInSeconds": 2000, "contact": {"name": "Ada", "email": "ada@example.com"}}


def granted(token, seconds=2000):
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == seconds and claims["name"] == "Ada", claims
    return token


def checked(response):
    assert response.ok, f"{response.status_code} {response.text}"
    return response


def chatbotkit():
    headers = {"Authorization": f"Bearer {KEY}"}
    session = checked(requests.post(f"{BASE}/api/v1/bot/chatbotkit/session/create", json=WISH, headers=headers)).json()
    assert isinstance(session["expiresAt"], int) and session["id"] == "chatbotkit", session
    headers = {"Authorization": f"Bearer {granted(session['token'])}"}
    url = f"{BASE}/api/v1/conversation/{session['conversationId']}/complete"
    return checked(requests.post(url, json={"text": "Hello?"}, headers=headers)).json()["text"]


def superseek():
    params = {"bot_id": 1234, "api_key": KEY}
    wish = {"Keystile-Duration": str(WISH["durationInSeconds"]), "Keystile-Contact": json.dumps(WISH["contact"])}
    session_id = granted(checked(requests.get(f"{BASE}/session-id", params=params, headers=wish)).text)
    said = []
    for question in ["Hello?", "And now?"]:
        body = {"api_key": KEY, "bot_id": 1234, "question": question, "session_id": session_id}
        answer = checked(requests.post(f"{BASE}/chat", json=body)).json()
        session_id = answer["session_id"]
        said.append(answer["answer"])
    return said


def aichatbothub():
    bot = "3f0b5a1e-6a52-4a53-9d6c-0f7d9a4c2b11"
    headers = {"Authorization": f"Bearer {KEY}"}
    created = checked(requests.post(f"{BASE}/api/v1/chatbot/{bot}/session/create", json=WISH, headers=headers))
    # The answer has no place for the token.
    headers = {"Authorization": f"Bearer {granted(created.headers['Keystile-Token'])}"}
    url = f"{BASE}/api/v1/session/{created.json()['uuid']}/message/stream"
    stream = checked(requests.post(url, json={"query": "Hello?"}, headers=headers, stream=True))
    parts = [part.decode() for part in stream.iter_content(None)]
    assert len(parts) > 1, parts
    return "".join(parts)


def hottask():
    body = {"serialNumber": "SN-2024-0001", **WISH}
    answer = requests.post(f"{BASE}/chat/Chatbot/GetSession", json=body, headers={"Authorization": KEY})
    session = checked(answer).json()
    assert session["Success"] is True and isinstance(session["Data"]["SessionID"], int), session
    headers = {"Authorization": granted(answer.headers["Keystile-Token"])}
    body = {"sessionID": session["Data"]["SessionID"], "content": "Hello?"}
    return checked(requests.post(f"{BASE}/chat/Chat/ClientAsk", json=body, headers=headers)).json()["Data"]["Answer"]


def genesys():
    body = {"visitId": "v-first", "globalVisitId": "g-python", **WISH}
    answer = checked(requests.put(f"{BASE}/sessions/new", json=body, headers={"X-Knowledge-Key": KEY}))
    headers = {"X-Knowledge-Key": granted(answer.headers["Keystile-Token"])}
    url = f"{BASE}/sessions/{answer.json()['sessionId']}"
    checked(requests.post(url, json={"visitId": "v-python"}, headers=headers))
    session = checked(requests.get(url, headers=headers)).json()
    assert session["customerId"] == "ada@example.com", session
    return session["visitId"]


def openai_client():
    headers = {"Authorization": f"Bearer {KEY}"}
    token = checked(requests.post(f"{BASE}/v1/bots/openai/sessions", json=WISH, headers=headers)).json()["token"]
    client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=granted(token))
    messages = [{"role": "user", "content": "Hello?"}]
    stream = client.chat.completions.create(model="any", messages=messages, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    return [said, client.responses.create(model="any", input="And now?").output_text]


def directline():
    root = f"{BASE}/v3/directline"
    body = {"user": {"id": "dl_python"}, **WISH}
    generated = checked(requests.post(f"{root}/tokens/generate", json=body, headers={"Authorization": f"Bearer {KEY}"})).json()
    # No longer than the vendor's own token.
    headers = {"Authorization": f"Bearer {granted(generated['token'], generated['expires_in'])}"}
    assert generated["expires_in"] == 1800, generated
    conversation = checked(requests.post(f"{root}/conversations", headers=headers)).json()
    assert conversation["conversationId"] == generated["conversationId"], conversation
    stream = websocket.create_connection(conversation["streamUrl"], timeout=30)
    url = f"{root}/conversations/{conversation['conversationId']}/activities"
    message = {"type": "message", "from": {"id": "dl_python"}, "text": "Hello?"}
    posted = checked(requests.post(url, json=message, headers=headers)).json()
    while True:
        # An empty message says that the stream is alive.
        activities = json.loads(stream.recv() or "{}").get("activities", [])
        answers = [activity["text"] for activity in activities if activity.get("replyToId") == posted["id"]]
        if answers:
            stream.close()
            return answers[0]


VENDORS = [chatbotkit, superseek, aichatbothub, hottask, genesys, openai_client, directline]
print(json.dumps({vendor.__name__: vendor() for vendor in VENDORS}))
