"""Attenuation by share of the year at ready sites; `link_models.budget.make_table` makes them."""
