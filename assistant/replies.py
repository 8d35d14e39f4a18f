"""Fixed Korean replies: what Damso says of itself, and how it says that the documents do not tell."""

from __future__ import annotations

from textwrap import shorten

from assistant.grounding import Candidate
from retrieval.readers import SUPPORTED

NO_DOCUMENTS = "아직 읽은 문서가 없어요. 문서를 넣어 주시면 그 안에서 찾아 답해 드릴게요."
CANNOT_YET = (
    "그 일은 아직 할 수 없어요. "
    "지금은 문서에서 답 찾기, 일정 적기와 알림, 집 기기 상태 적어 두기, 사진 키우기, "
    "목소리의 감정 알아보기, 네트워크 기록 살펴보기를 도와드릴 수 있어요."
)
NEVER_MIND = "네, 그만둘게요. 다른 일이 있으면 말씀해 주세요."
FALLBACK_SMALLTALK = "말씀해 주셔서 고마워요. 문서에서 찾고 싶은 것이 있으면 편하게 물어봐 주세요."

_REPLIES = {
    ("help", "usage"): (
        "문서를 넣고 궁금한 점을 그대로 물어보시면 돼요. "
        "문서에 있는 내용만 짧게 답하고 어디에서 찾았는지 함께 보여 드려요. "
        "문서에 없으면 없다고 말씀드릴게요. "
        "‘내일 3시에 회의 잡아 줘’처럼 일정을 적거나, ‘거실 불 켜 줘’처럼 집 기기의 상태를 적어 둘 수도 있어요. "
        "사진을 올리고 ‘두 배로 키워 줘’, 녹음을 올리고 ‘어떤 감정이야?’라고 하셔도 돼요."
    ),
    ("help", "upload"): (
        "화면 왼쪽의 ‘문서 올리기’에 파일을 끌어 놓거나, 터미널에서 damso ingest 파일이름 이라고 쓰시면 돼요. "
        "넣은 문서는 왼쪽 목록이나 damso docs list에서 볼 수 있어요."
    ),
    ("help", "delete"): (
        "왼쪽 문서 목록에서 지울 문서를 고르고 ‘고른 문서 지우기’를 누르거나, "
        "damso docs rm 문서이름 이라고 쓰시면 돼요. 대화는 대화 목록에서 지울 수 있어요."
    ),
    ("help", "formats"): (
        "한글, 워드, 파워포인트, 엑셀, PDF, 웹 페이지, 메일, 텍스트와 마크다운 파일을 읽을 수 있어요"
        f"({', '.join(SUPPORTED)}). 스캔한 문서는 글자 인식(OCR)을 먼저 해 주세요."
    ),
    ("help", "privacy"): "문서와 대화는 이 컴퓨터에만 저장되고, 인터넷으로 아무것도 보내지 않아요.",
    ("help", "citations"): (
        "답마다 근거가 된 문서와 문장을 함께 보여 드려요. "
        "근거를 누르면 앞뒤 내용까지 볼 수 있으니 중요한 일은 한 번 더 확인해 주세요."
    ),
    ("smalltalk", "greeting"): "안녕하세요! 문서에서 무엇을 찾아 드릴까요?",
    ("smalltalk", "thanks"): "도움이 되었다니 기뻐요. 더 궁금한 점이 있으면 말씀해 주세요.",
    ("smalltalk", "about_assistant"): (
        "저는 담소예요. 인터넷 없이 이 컴퓨터 안에서, 넣어 주신 문서를 읽고 답해 드리는 도우미예요."
    ),
}
_NEAR = 0.1
"""Probability from which a sentence that is not sure enough to answer is worth reading."""
_LONGEST_QUOTE = 160
_OUT_OF_SCOPE = {
    "": "무슨 말씀인지 잘 모르겠어요. 궁금한 점을 조금 더 풀어서 적어 주시겠어요?",
    "contact": "전화나 메시지는 보낼 수 없어요. 담소는 이 컴퓨터 안에서만 움직여요.",
    "order": "주문이나 예약, 결제는 할 수 없어요. 담소는 이 컴퓨터 안에서만 움직여요.",
    "lookup": "인터넷에 연결하지 않아서 날씨나 뉴스 같은 바깥 소식은 알 수 없어요.",
    "media": "음악이나 영상을 틀거나 다른 앱을 다루지는 못해요.",
    "create": "번역, 글쓰기, 그림, 계산은 아직 할 수 없어요. 문서에서 답을 찾는 일을 도와드릴게요.",
}


def reply_for(agent: str, intent: str) -> str | None:
    """The fixed reply of an agent's intent, or None when an answer has to be written."""
    if agent == "out_of_scope":
        return _OUT_OF_SCOPE.get(intent, _OUT_OF_SCOPE[""])
    return _REPLIES.get((agent, intent))


def not_found(nearest: Candidate | None) -> str:
    """Says that the documents do not hold the answer, names the nearest passage, and quotes it if it is near."""
    if nearest is None:
        return "문서에 없습니다."
    passage = nearest.hit.passage
    place = " › ".join([passage.document, *filter(None, passage.section.split(" > "))])
    if nearest.probability < _NEAR:
        return f"문서에 없습니다. 가장 가까운 내용은 ‘{place}’에 있어요."
    sentence = shorten(" ".join(nearest.text.split()), _LONGEST_QUOTE, placeholder="…")
    return f"문서에 없습니다. 가장 가까운 내용은 ‘{place}’의 이 문장이에요: “{sentence}”"
