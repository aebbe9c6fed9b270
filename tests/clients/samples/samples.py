"""The vendors' documented calls with requests, OpenAI's own client, and Direct Line's stream over a WebSocket.

BASE is where the vendor's host was, KEY where its API key was. Prints one JSON object: from vendor to what it said.
"""

import json
import os

import openai
import requests
import websocket

BASE, KEY = os.environ["BASE"], os.environ["KEY"]


def checked(response):
    assert response.ok, f"{response.status_code} {response.text}"
    return response


def chatbotkit():
    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"durationInSeconds": 1800, "contact": {"name": "Ada"}}
    session = checked(requests.post(f"{BASE}/api/v1/bot/chatbotkit/session/create", json=body, headers=headers)).json()
    assert isinstance(session["expiresAt"], int) and session["id"] == "chatbotkit", session
    headers = {"Authorization": f"Bearer {session['token']}"}
    url = f"{BASE}/api/v1/conversation/{session['conversationId']}/complete"
    return checked(requests.post(url, json={"text": "Hello?"}, headers=headers)).json()["text"]


def superseek():
    session_id = checked(requests.get(f"{BASE}/session-id", params={"bot_id": 1234, "api_key": KEY})).text
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
    created = checked(requests.post(f"{BASE}/api/v1/chatbot/{bot}/session/create", headers=headers))
    # The answer has no place for the token.
    headers = {"Authorization": f"Bearer {created.headers['Keystile-Token']}"}
    url = f"{BASE}/api/v1/session/{created.json()['uuid']}/message/stream"
    stream = checked(requests.post(url, json={"query": "Hello?"}, headers=headers, stream=True))
    parts = [part.decode() for part in stream.iter_content(None)]
    assert len(parts) > 1, parts
    return "".join(parts)


def hottask():
    answer = requests.post(f"{BASE}/chat/Chatbot/GetSession", json={"serialNumber": "SN-2024-0001"}, headers={"Authorization": KEY})
    session = checked(answer).json()
    assert session["Success"] is True and isinstance(session["Data"]["SessionID"], int), session
    headers = {"Authorization": answer.headers["Keystile-Token"]}
    body = {"sessionID": session["Data"]["SessionID"], "content": "Hello?"}
    return checked(requests.post(f"{BASE}/chat/Chat/ClientAsk", json=body, headers=headers)).json()["Data"]["Answer"]


def genesys():
    body = {"visitId": "v-python", "globalVisitId": "g-python"}
    answer = checked(requests.put(f"{BASE}/sessions/new", json=body, headers={"X-Knowledge-Key": KEY}))
    headers = {"X-Knowledge-Key": answer.headers["Keystile-Token"]}
    return checked(requests.get(f"{BASE}/sessions/{answer.json()['sessionId']}", headers=headers)).json()["visitId"]


def openai_client():
    headers = {"Authorization": f"Bearer {KEY}"}
    token = checked(requests.post(f"{BASE}/v1/bots/openai/sessions", headers=headers)).json()["token"]
    client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=token)
    messages = [{"role": "user", "content": "Hello?"}]
    stream = client.chat.completions.create(model="any", messages=messages, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    return [said, client.responses.create(model="any", input="And now?").output_text]


def directline():
    root = f"{BASE}/v3/directline"
    body = {"user": {"id": "dl_python"}}
    generated = checked(requests.post(f"{root}/tokens/generate", json=body, headers={"Authorization": f"Bearer {KEY}"})).json()
    headers = {"Authorization": f"Bearer {generated['token']}"}
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
