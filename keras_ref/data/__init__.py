"""Images from folders: found, divided and decoded; ``keras_ref.data.dataset``, which needs Keras, batches them."""

from keras_ref.data.folder import Sample
from keras_ref.data.source import Source, open_source

__all__ = ["Sample", "Source", "open_source"]
