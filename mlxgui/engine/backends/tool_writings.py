"""How each family of models writes a call, in the form that its parser in mlx-lm reads.

In the templates stand «name», «number» and «arguments»; in those of one argument «key», «type» and
«value».
"""

from msgspec import Struct


class Parameters(Struct, frozen=True):
    """How a family without JSON writes one argument: around «key» and «value»."""

    template: str
    between: str = ""
    quote: str = ""
    """Around strings."""
    free_text: str = r"(.|\n)*"
    """What strings may hold, as a pattern."""
    json_strings: bool = False
    bare_keys: bool = False
    """Objects inside have keys without quotes."""
    flat: bool = False
    """Its parser reads no lists and objects."""


class Writing(Struct, frozen=True):
    call: str
    first: str = ""
    between: str = ""
    last: str = ""
    parameters: Parameters | None = None
    """None: the arguments are a JSON object."""


_GLM = Writing(
    "<tool_call>«name»«arguments»</tool_call>",
    between="\n",
    parameters=Parameters("<arg_key>«key»</arg_key><arg_value>«value»</arg_value>"),
)
WRITINGS: dict[str, Writing] = {
    "json_tools": Writing(
        '<tool_call>\n{"name": "«name»", "arguments": «arguments»}\n</tool_call>', between="\n"
    ),
    "mistral": Writing("[TOOL_CALLS]«name»[ARGS]«arguments»"),
    "mistral_list": Writing(
        '{"name": "«name»", "arguments": «arguments»}',
        first="[TOOL_CALLS][",
        between=", ",
        last="]",
    ),
    "kimi_k2": Writing(
        "<|tool_call_begin|>functions.«name»:«number»<|tool_call_argument_begin|>«arguments»"
        "<|tool_call_end|>",
        first="<|tool_calls_section_begin|>",
        last="<|tool_calls_section_end|>",
    ),
    "kimi_k3": Writing(
        '<|open|>call tool="«name»" index="«number»"<|sep|>«arguments»<|close|>call<|sep|>',
        first="<|open|>tools<|sep|>",
        last="<|close|>tools<|sep|>",
        parameters=Parameters(
            '<|open|>argument key="«key»" type="«type»"<|sep|>«value»<|close|>argument<|sep|>'
        ),
    ),
    "qwen3_coder": Writing(
        "<tool_call>\n<function=«name»>\n«arguments»</function>\n</tool_call>",
        between="\n",
        parameters=Parameters("<parameter=«key»>\n«value»\n</parameter>\n"),
    ),
    "glm47": _GLM,
    "laguna": _GLM,
    "longcat": Writing(
        "<longcat_tool_call>«name»\n«arguments»</longcat_tool_call>",
        between="\n",
        parameters=Parameters(
            "<longcat_arg_key>«key»</longcat_arg_key>\n"
            "<longcat_arg_value>«value»</longcat_arg_value>\n"
        ),
    ),
    "minimax_m2": Writing(
        '<invoke name="«name»">\n«arguments»</invoke>\n',
        first="<minimax:tool_call>\n",
        last="</minimax:tool_call>",
        parameters=Parameters('<parameter name="«key»">«value»</parameter>\n'),
    ),
    "minicpm5": Writing(
        '<function name="«name»">«arguments»</function>',
        parameters=Parameters('<param name="«key»">«value»</param>'),
    ),
    "pythonic": Writing(
        "«name»(«arguments»)",
        first="<|tool_call_start|>[",
        between=", ",
        last="]<|tool_call_end|>",
        parameters=Parameters("«key»=«value»", between=", ", json_strings=True),
    ),
    "gemma4": Writing(
        "<|tool_call>call:«name»{«arguments»}<tool_call|>",
        parameters=Parameters("«key»:«value»", between=",", quote='<|"|>', bare_keys=True),
    ),
    "function_gemma": Writing(
        "<start_function_call>call:«name»{«arguments»}<end_function_call>",
        parameters=Parameters(
            "«key»:«value»", between=",", quote="<escape>", free_text="[^{}]*", flat=True
        ),
    ),
}
