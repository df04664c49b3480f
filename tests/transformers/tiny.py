"""A tokenizer of few words, and models of few weights for each task."""

import tokenizers
import torch
import transformers

TASKS = {
    "feature-extraction": transformers.BertModel,
    "text-classification": transformers.BertForSequenceClassification,
    "token-classification": transformers.BertForTokenClassification,
}
WORDS = ["good", "great", "bad", "awful", "film", "the", "a", "was", "and", "in", "rome"]
WORDS += ["ada", "lives", "##s", "##ly", "."]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [
    "the film was good",
    "bad",
    "ada lives in rome and the films was greatly awful .",
    "a good film in rome",
    "",
    "Zebra good",
]
MAX_LENGTH = 24


def tokenizer(**options):
    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    model = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    model.normalizer = tokenizers.normalizers.BertNormalizer()
    model.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    model.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    options = {"model_max_length": MAX_LENGTH, **dict(zip(names, SPECIAL)), **options}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, **options)


def model(task, seed=0, **options):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=MAX_LENGTH,
        num_labels=3,
        initializer_range=1.0,  # so that labels differ from text to text
        **options,
    )
    config.id2label = {0: "O", 1: "B-PER", 2: "B-LOC"}
    return TASKS[task](config).eval()


def save(task, folder, seed=0, tokens=None, **options):
    (tokens or tokenizer()).save_pretrained(folder)
    model(task, seed, **options).save_pretrained(folder)
    return str(folder)
