"""What the sky does to a link: clouds, rain fronts, scintillation.

Everything here is a function of a key and of time (see `link_models.noise`): asking late,
twice or in any order changes nothing, and all links of a station see the same weather.
"""
