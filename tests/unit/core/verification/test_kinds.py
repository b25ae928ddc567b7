"""Are those compared that must say the same, and no others?"""

from __future__ import annotations

from app.services.core.choice.classes import ModelClass
from app.services.core.verification.kinds import Kinds

LLAMA = ModelClass("llama", frozenset({"llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct", "llama-8b-Q4_K_M.gguf"}))


def test_without_classes_one_name_is_one_kind():
    kinds = Kinds()
    assert kinds("Org/M") == kinds("org/m")
    assert kinds("m") == kinds("m:latest")
    assert kinds("m:8b") != kinds("m:70b")
    assert kinds("llama3.1:8b") != kinds("meta-llama/Llama-3.1-8B-Instruct")


def test_names_of_one_class_are_one_kind_but_not_in_two_quantizations():
    kinds = Kinds([LLAMA])
    assert kinds("llama3.1:8b") == kinds("meta-llama/Llama-3.1-8B-Instruct")
    assert kinds("llama3.1:8b") != kinds("llama-8b-Q4_K_M.gguf")
    assert kinds("llama") != kinds("other")


def test_classes_are_taken_over_in_place_of_those_before():
    kinds = Kinds([LLAMA])
    kinds.confirmed([])
    assert kinds("llama3.1:8b") != kinds("meta-llama/Llama-3.1-8B-Instruct")


def test_a_class_is_not_taken_for_a_model_of_its_name():
    kinds = Kinds([ModelClass("x", frozenset({"a"}))])
    assert kinds("a") != Kinds()("x")
