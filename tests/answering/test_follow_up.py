"""Follow-ups: which prompts cannot stand alone, and what is searched for in their place."""

import pytest

from agentkit.answering.follow_up import standalone_question, stands_alone
from agentkit.answering.question import Question


@pytest.mark.parametrize(
    "prompt",
    [
        "and at 8 bits?",
        "那 8 位呢",
        "why?",
        "它的缺点呢",
        "what about Windows",
        "How much memory does it need?",
        "Does it support Windows?",
        "and the price?",
        "Which one is faster?",
        "what is the difference?",
        "tell me more",
        "Can you give an example?",
        "and then?",
        "how so?",
        "8 bits?",
        "for Chinese?",
        "What does that mean?",
        "Why is that?",
        "What are its drawbacks?",
        "What are the drawbacks?",
        "How does this method work?",
        "Is it free?",
        "and who wrote it?",
        "What else?",
        "What if I have no GPU?",
        "Windows too?",
        "Do they expire?",
        "And for the 13B model?",
        "How about speed?",
        "Which is better?",
        "What does the latter do?",
        "Explain that in more detail",
        "为什么？",
        "为什么呢",
        "那它有什么缺点？",
        "有什么区别？",
        "哪个更快？",
        "举个例子",
        "详细说说",
        "Windows 呢？",
        "那 Windows 上呢",
        "4 位量化呢？",
        "这个公式是什么意思？",
        "这种方法有什么好处",
        "还有别的吗？",
        "然后呢？",
        "后者的优点是什么",
        "那价格呢？",
        "它们之间有什么不同",
        "如果没有显卡呢？",
        "怎么做？",
        "其中哪个最大？",
        "在 Mac 上呢？",
        "他是谁？",
        "换成 7B 呢",
        "多少钱？",
        "请再解释一遍",
        "缺点是什么？",
        "那是什么时候？",
    ],
)
def test_a_follow_up_cannot_stand_alone(prompt: str) -> None:
    assert not stands_alone(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "What is PCA?",
        "How do I install Redis so that it starts at boot?",
        "What is LoRA and how does it work?",
        "Is it possible to use Redis as a cache?",
        "How long does it take to train a 7B model?",
        "What is this project about?",
        "And what is PCA?",
        "So how does FlashAttention save memory?",
        "In Python, how do I read a file?",
        "What are the drawbacks of LoRA?",
        "What is the default port?",
        "How do I check that the index is fine?",
        "Who founded Anthropic?",
        "LoRA rank",
        "PCA",
        "redis cache eviction",
        "If a model is too large, can it be quantised?",
        "What is the difference between PCA and t-SNE?",
        "How much does the basic plan cost?",
        "Which formats that browsers read are lossless?",
        "How many tokens was DeepSeek-V3 trained on?",
        "What are the three parts of the 3H principle in RLHF?",
        "Do gift cards expire?",
        "When was version 2.4 released?",
        "List the supported file formats",
        "什么是 PCA？",
        "PCA 是什么？",
        "LoRA 是什么，它怎么工作？",
        "另外，什么是知识蒸馏？",
        "那么什么是 KV Cache？",
        "这个项目是做什么的？",
        "7B 模型用 4 位量化加载，大约占多少显存？",
        "什么是知识蒸馏？教师模型和学生模型各做什么？",
        "KV Cache 是什么，为什么能加快推理？",
        "梯度下降的学习率应该怎么选？",
        "主成分分析",
        "注意力机制的缺点是什么？",
        "如何用 Docker 部署？",
        "在 Linux 上怎么安装 Redis？",
        "退货政策是什么？",
        "礼品卡会过期吗？",
        "对比学习是什么？",
        "量化会影响精度吗？",
        "还原论是什么？",
    ],
)
def test_a_question_with_its_own_subject_stands_alone(prompt: str) -> None:
    assert stands_alone(prompt)


@pytest.mark.parametrize(
    ("earlier", "prompt", "query"),
    [
        (["What is LoRA?"], "What is PCA?", "What is PCA?"),
        (["What is LoRA?"], "why?", "What is LoRA?\nwhy?"),
        (
            ["How much memory does a 7B model take at 16 bits?"],
            "and at 4 bits?",
            "How much memory does a 7B model take at 4 bits?",
        ),
        (
            ["7B 模型用 4 位量化加载，大约占多少显存？"],
            "那 8 位呢",
            "7B 模型用 8 位量化加载，大约占多少显存？",
        ),
        (
            ["How do I install the server on Linux?"],
            "what about Windows",
            "How do I install the server on Windows?",
        ),
        (
            ["How do I install Redis on Linux?"],
            "what about Windows",
            "How do I install Redis on Linux?\nwhat about Windows",
        ),
        (["LoRA 是什么？"], "QLoRA 呢？", "QLoRA 是什么？"),
        (["LoRA 是什么？", "谢谢"], "它的缺点呢", "LoRA的缺点呢"),
        (["什么是知识蒸馏？"], "它有什么用？", "知识蒸馏有什么用？"),
        (["KV Cache 是什么，为什么能加快推理？"], "它占多少显存？", "KV Cache占多少显存？"),
        (["What is LoRA?"], "What are its drawbacks?", "What are LoRA's drawbacks?"),
        (["Who wrote Redis?"], "Does it support Windows?", "Does Redis support Windows?"),
        (
            ["How do I bake bread at home?"],
            "How long does it keep?",
            "How do I bake bread at home?\nHow long does it keep?",
        ),
        (
            ["How much memory does a 7B model take at 4 bits?", "and at 8 bits?"],
            "why?",
            "How much memory does a 7B model take at 8 bits?\nwhy?",
        ),
        ([], "why?", "why?"),
        (["thanks"], "why?", "why?"),
        (["What is LoRA?"], "thanks", "thanks"),
    ],
)
def test_only_a_follow_up_is_joined_with_the_question_that_it_continues(
    earlier: list[str], prompt: str, query: str
) -> None:
    assert standalone_question(prompt, earlier) == query


@pytest.mark.parametrize(
    "prompt",
    [
        "thanks",
        "Thank you very much!",
        "ok",
        "hello",
        "Hi!",
        "great, thanks",
        "谢谢",
        "好的，谢谢！",
        "你好",
        "明白了",
        "再见",
    ],
)
def test_thanks_and_greetings_are_small_talk(prompt: str) -> None:
    assert Question(prompt).is_small_talk


@pytest.mark.parametrize(
    "prompt", ["why?", "hi-fi amplifiers", "谢谢怎么说？", "What is ok?", "再见是什么意思"]
)
def test_a_question_is_no_small_talk(prompt: str) -> None:
    assert not Question(prompt).is_small_talk
