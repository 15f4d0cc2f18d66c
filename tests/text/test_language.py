"""The language of a text."""

import pytest

from agentkit.text.language import language_of


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("English", "The model is trained on a set of documents and it can answer from them."),
        ("German", "Das Modell wird auf den Dokumenten trainiert und die Antwort ist kurz."),
        ("French", "Le modèle est entraîné sur les documents et la réponse est courte."),
        ("Spanish", "El modelo se entrena con los documentos y la respuesta es corta."),
        ("Portuguese", "O modelo não é treinado com os documentos e a resposta do teste é curta."),
        ("Italian", "Il modello è addestrato con i documenti e la risposta non è della rete."),
        ("Dutch", "Het model is getraind op de documenten en dat is niet voor een antwoord."),
        (
            "Polish",
            "Model jest trenowany na dokumentach i odpowiedź nie jest długa, ale to się da.",
        ),
        ("Turkish", "Bu model belgeler ile eğitilir ve yanıt için daha çok bir şey var."),
        ("Chinese", "大模型在很多文本上训练，Transformer 是它的结构，attention 很重要。"),
        ("Japanese", "モデルは文書で訓練されます。答えは短いです。"),
        ("Korean", "모델은 문서로 훈련됩니다."),
        ("Russian", "Модель обучается на документах, и ответ короткий."),
        ("Arabic", "يتم تدريب النموذج على المستندات."),
        ("Thai", "แบบจำลองได้รับการฝึกจากเอกสาร"),
        ("", "x = f(y); z += 3"),
        ("", "12 345"),
    ],
)
def test_the_language_is_found_by_script_or_function_words(language: str, text: str) -> None:
    assert language_of(text) == language
