"""What can befall a link, as it is written in files.

`disturbance` says what every kind has; `datagram_kinds` and `weather_kinds` are the kinds, made of
the models in `link_models.loss` and `link_models.weather`, which do not know each other; `config`
lists all kinds, reads them and makes rules of them.
"""
